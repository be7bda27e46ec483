"""Dashboards that only listen: the official Socket.IO clients in JavaScript and Python."""
