"""Routers with one realistic defect each, by family of laws."""
