"""From content and parameters to the exact bytes of each channel: templates, mail, SMS texts, pages.

Pure: the same content, recipient and ids give the same bytes with the same RENDERER version.
"""

RENDERER = "1"
