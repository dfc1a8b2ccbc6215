"""Zero-shot active learning: order an unlabelled pool once, label any prefix."""
