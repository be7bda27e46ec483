"""Segment messages as most senders write them, read straight into what they become: `messages.read`."""
