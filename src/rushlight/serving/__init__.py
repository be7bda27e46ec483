"""The HTTP server: uvicorn, with limits for whoever is slow or loud, and a short way for events."""
