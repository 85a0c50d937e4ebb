"""noticesvc delivers notices that have legal effect, and can prove it years later to someone who does not trust us."""

__version__ = "0.1.0"
