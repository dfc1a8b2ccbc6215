"""The labels that annotators brought, joined to the pool."""
