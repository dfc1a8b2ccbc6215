"""What labels are worth with frozen features: orders probed on pools made of the one at hand."""
