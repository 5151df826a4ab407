"""Showing measurements to people."""
