"""Figures of a running Greenroom, each beside what is expected of it. Run ``python -m bench``."""
