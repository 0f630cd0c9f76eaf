"""Names that become folders and files."""

# Some systems drop a dot at the end of a folder's name.
NAME_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?"
