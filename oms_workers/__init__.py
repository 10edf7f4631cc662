"""The scheduled operations of an order management system."""
