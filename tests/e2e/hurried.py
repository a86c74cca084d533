"""`python -m hurried …` is `nbbench …` with short comparisons, for planted differences that nothing hides.

A comparison takes at least as many rounds as its error rate asks for (nine), in a new server every third.
Here it takes five, in one server, with short turns and however busy the machine is: seconds instead of half
a minute.
"""

from __future__ import annotations

from nbbench.cli import main
from nbbench.gate import bisect, rounds
from nbbench.measure import pair, paired

if __name__ == "__main__":
    bisect.ALPHA = 0.05
    paired.ROUNDS_PER_SERVER = rounds.MAX_ROUNDS
    pair.SLICE_S = 0.005
    rounds.RETRIES = 0
    main()
