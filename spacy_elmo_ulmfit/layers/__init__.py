"""Thinc layers around the modules, and the architectures that configs name."""
