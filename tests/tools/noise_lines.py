"""Prints so many lines of mixed scripts, emoji, markup and noise; always the same ones."""

import random
import sys

random.seed(11)
WORDS = (
    "the house casa не мир 世界 平和 مرحبا שלום नमस्ते ภาษา 안녕 ελληνικά été naïve ﬁne ① ½ x² 🙂 👩‍👩‍👧 🏳️‍🌈 <b>bold</b> &amp; "
    "<a href='x'> </p> {json: [1,2]} \\begin{x} $E=mc^2$ http://a.b/c?d=e#f user@example.org 3.14159 -1e300 0x7F ... !!! ??? "
    "\u200b \u00ad \u202e \ufeff e\u0301\u0302\u0303 \U0010ffff \u2028 \t"
).split(" ")
for number in range(int(sys.argv[1])):
    kind = number % 8
    if kind == 0:
        line = "".join(chr(random.choice([random.randrange(32, 127), random.randrange(160, 0x2FFF), random.randrange(0x1F300, 0x1FAFF)])) for _ in range(random.randrange(40)))
    elif kind == 1:
        line = random.choice(WORDS) * random.randrange(60)
    elif kind == 2:
        line = " " * random.randrange(5)
    else:
        line = " ".join(random.choices(WORDS, k=random.randrange(12)))
    print(line.replace("\n", " ").replace("\r", " "))
