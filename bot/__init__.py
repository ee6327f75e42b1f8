"""Shipmate, a self-hosted ChatOps bot: the application."""
