"""How many parts a short message takes, and where it is cut, for providers: what noticesvc.provider gives of it."""

from noticesvc.provider import SplitText, TooManyParts, alphabet_of, concatenation_header, count_parts, split, width

__all__ = ["SplitText", "TooManyParts", "alphabet_of", "concatenation_header", "count_parts", "split", "width"]
