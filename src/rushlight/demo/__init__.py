"""A flash sale to watch: simulated shoppers who browse, fill carts and order through the real services."""
