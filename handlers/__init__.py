"""Doors: authenticate, translate, call one service, acknowledge."""
