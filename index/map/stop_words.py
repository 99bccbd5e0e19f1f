"""English words that join and point and count, as "the" and "with": no cluster of images is named by one.

Those of three letters and more, as the words of a tokenizer are. Of other languages it knows none.
"""

from __future__ import annotations

STOP_WORDS = frozenset(
    """
    the this that these those such same other another each every either neither both all any some none few many much
    more most less least several enough own
    she her hers him his its you your yours our ours they them their theirs who whom whose which what
    myself yourself himself herself itself ourselves themselves someone something anyone anything everyone everything
    and but nor yet for than then thus because since though although while whereas whether unless until till
    about above across after against along among around before behind below beneath beside besides between beyond
    down during except from inside into like near off onto out outside over past per through throughout toward towards
    under upon via with within without
    are was were been being has had have having does did done doing can could may might must shall should will would
    ought not isn aren wasn don doesn didn won
    here there where when why how now once ever never always often again also just only even still too very quite
    rather almost else however perhaps maybe away
    one two three four five six seven eight nine ten first second third
    """.split()
)
