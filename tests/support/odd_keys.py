"""Keys that URLs, signatures, file systems and listings tend to handle incorrectly."""

FOLDERS = ["a/b", "a/b/c.png", "d/é.png"]
"""To S3 a slash is an ordinary character; to a file system it separates folders."""
DOTS = [".", "..", "../up", "x/./y", "x/../y"]
"""Segments that URLs and file systems resolve."""
EMPTY_SEGMENTS = ["two//slashes", "trailing/", "/leading"]
ODD_KEYS = [
    "plain.png",
    "UPPER.PNG",
    "upper.png",
    " ",
    " leading blank",
    "trailing blank ",
    "two  blanks",
    "plus+plus",
    "a%20b",
    "100%",
    "%2F",
    "%25",
    "q?query=1",
    "a#fragment",
    "a&b=c",
    "semi;colon",
    "colon:colon",
    "a,b",
    "equals=",
    "at@sign",
    "dollar$",
    "bang!",
    "star*",
    "quote'single",
    'quote"double',
    "(round)",
    "[square]",
    "{curly}",
    "<angle>",
    "pipe|",
    "caret^",
    "back`tick",
    "~tilde",
    "-dash",
    "_under",
    "trailing.",
    ".hidden",
    "...",
    "é",  # NFC
    "e\u0301",  # NFD
    "ß",
    "日本語.png",
    "مرحبا",
    "\u202eright to left",
    "zero\u200bwidth",
    "😀.png",
    "\uffee",
    "𐀀",  # before U+FFEE in UTF-16, after it in UTF-8
    "k" * 255,
]
