"""Deployments: asked for, approved, carried out, verified and rolled back, a step at a time."""
