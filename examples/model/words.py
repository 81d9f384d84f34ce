"""Word pools, split into a training and a held-out half by a hash.

Every verb, noun, adjective and made-up word belongs to exactly one split, so
held-out dialogues are built from words that the training data never shows.
Words that the hand-written desk tools use (desk_tools.py) are always training.
"""

import zlib

VERBS = """search open close restart read look find list delete create update move copy send fetch check
start stop scan query print paint clean wash lock unlock load save merge split rename archive restore sync
deploy revert approve reject assign notify schedule cancel measure count sort filter plot draw translate
summarise compress encrypt decrypt verify sign publish index crawl book order ship track refund charge
invoice audit rotate drain cordon scale resize attach detach mount format partition snapshot clone tag
label pin mute pause resume ping trace probe test build compile lint bake cook grill brew pour fill empty
water feed walk train ride drive park tow fix repair replace install remove mark grade enrol invite
dismiss greet call mail post rate review score rank vote elect hire pay lend borrow return renew
reserve release register enable disable boost dim heat cool vent seal weigh mix stir fold cut glue bind
carve polish sweep dig plant harvest store stack pack wrap unwrap lift drop push pull spin shake tune
record play stream download upload import export convert render crop blur sharpen annotate transcribe""".split()

NOUNS = """log ticket service file host server owner team incident report order invoice user account record
table row column database queue topic message channel cluster node pod image container volume disk
bucket key secret token certificate domain zone route gateway proxy firewall rule policy alert alarm
metric dashboard chart graph trace span job task pipeline build release branch commit patch package
module library device sensor camera lamp door window room floor house garden tree flower river lake
mountain road bridge train bus ticketing flight hotel booking seat menu recipe dish soup bread cake
tea coffee cup plate spoon fork knife table chair desk bed carpet wall roof engine wheel tyre brake
pump valve pipe tank battery panel cable switch router modem antenna satellite rocket planet star
patient doctor nurse clinic ward drug dose vaccine symptom visit lesson course teacher pupil exam grade
book page chapter author shelf poem song album artist concert stage film scene actor ticketbox game
player match score league coach field ball racket bicycle boat ship harbour cargo crate parcel letter
stamp address city street country region border passport visa customs tax budget loan account bank coin
wallet payment refund price discount coupon cart shop store market vendor contract lease tenant permit
licence plan draft memo note minute meeting agenda calendar event reminder contact phone email profile
photo video clip map layer marker shape color font theme icon button form survey answer question quiz
vote poll law court judge case claim asset stock bond fund trade quote rate index forecast storm cloud
wind rain snow tide wave reef fish bird horse dog cat cow sheep goat farm barn crop seed soil fence
tractor mill factory robot arm belt shift crew badge helmet glove tool drill hammer screw bolt nail
beam brick tile paint brush canvas frame statue museum gallery exhibit archive folder backup cache
session cookie header payload schema endpoint method filter limit offset mode level priority severity
status state phase step stage version size weight height width depth length speed force pressure""".split()

ADJECTIVES = """red blue green black white grey amber violet fast slow hot cold warm new old main local remote
public private active idle daily weekly monthly early late upper lower inner outer north south east west
small large tiny huge soft hard dry wet bright dark quiet loud sharp flat round square raw plain rich
poor open final first last next prior extra spare core edge base prime dual single double triple heavy
light deep wide narrow long short high low medium full half zero fresh stale broken lost found hidden""".split()

ONSETS = "b c d f g h j k l m n p r s t v w z br cr dr fl gr pl pr sk sl sn sp st tr ch sh th qu".split()
VOWELS = "a e i o u a e i o u ai ea oo ou ia".split()
CODAS = ["", "", "", "n", "r", "l", "s", "t", "m", "k", "x", "nd", "rt", "lk", "st", "ng", "p", "d"]

FORCED_TRAIN = set()


def is_held(word):
    """True if the word belongs to the held-out split."""
    word = word.lower()
    return word not in FORCED_TRAIN and zlib.crc32(word.encode()) % 7 == 3


class Pools:
    """Draws words of one split ('train' or 'held')."""

    def __init__(self, split):
        self.held = split == "held"
        pick = lambda ws: sorted({w for w in ws if is_held(w) == self.held})
        self.verbs, self.nouns, self.adjectives = pick(VERBS), pick(NOUNS), pick(ADJECTIVES)

    def ok(self, text):
        return is_held(text) == self.held

    def made_up(self, rng):
        """A pronounceable made-up word."""
        while True:
            n = rng.choice([1, 1, 1, 2, 2])
            word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(n))
            if len(word) > 2 and self.ok(word):
                return word

    def scrambled(self, rng):
        """Letters at random, so that copying does not lean on plausibility."""
        while True:
            word = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 7)))
            if self.ok(word):
                return word

    def verb(self, rng):
        return rng.choice(self.verbs) if rng.random() < 0.65 else self.made_up(rng)

    def noun(self, rng):
        r = rng.random()
        return rng.choice(self.nouns) if r < 0.65 else self.made_up(rng) if r < 0.95 else self.scrambled(rng)

    def adjective(self, rng):
        return rng.choice(self.adjectives) if rng.random() < 0.8 else self.made_up(rng)

    def word(self, rng):
        r = rng.random()
        if r < 0.3:
            return rng.choice(self.nouns)
        if r < 0.4:
            return rng.choice(self.adjectives)
        return self.made_up(rng) if r < 0.9 else self.scrambled(rng)
