"""Run files to tables and figures."""
