"""Word lists of the base model's world, written for this project, and made-up words.

Who calls it: tasks.py, stories.py and quickstart.py. Real words teach meaning; made-up words,
different in almost every use, leave the model no way to answer but to copy.
"""

NAMES = """Ann Anna Bob Ben Carl Clara Dan Dora Emil Emma Eva Finn Fred Greta Hana Hugo Ida Ivan Jack
Jana Jon Julia Karl Kim Lara Leo Lina Lisa Luca Maja Maria Mark Mia Mila Mona Nick Nina Noah Nora Olga
Omar Otto Paul Pia Rita Rosa Sam Sara Sofia Tom Tina Theo Uma Vera Victor Wanda Will Yara Zoe Aron
Alma Amir Bella Boris Cleo Dina Edgar Elena Felix Frida Gina Hans Helga Igor Irma Jonas Kira Lena Lukas
Marco Marta Max Milan Nadia Nils Oscar Petra Ralf Ravi Ruth Simon Stella Sven Tara Tilda Ulla Vito Wim
Yusuf Zara Abel Agnes Aisha Albert Alice Bruno Cara David Diego Elsa Eric Erin Ewan Fiona George Grace
Henry Holly Iris Jasper Joan Kate Kofi Laura Liam Lucy Mateo Megan Naomi Owen Polly Quinn Robin Rory Ruby
Sally Seth Sonia Tanya Toby Tessa Vince Wendy""".split()

CITIES = """Oslo Rome Paris London Berlin Madrid Lisbon Vienna Prague Dublin Athens Bern Bonn Cairo
Lima Quito Delhi Tokyo Kyoto Osaka Seoul Hanoi Manila Sydney Perth Denver Dallas Austin Boston Chicago
Miami Seattle Toronto Ottawa Havana Bogota Nairobi Lagos Accra Dakar Tunis Riga Vilnius Tallinn Helsinki
Stockholm Malmo Bergen Turin Milano Naples Porto Seville Lyon Nice Geneva Zurich Basel Graz Linz Munich
Hamburg Bremen Leipzig Dresden Krakow Warsaw Gdansk Varna Zagreb Split Belgrade Skopje Izmir
Ankara Baku Tbilisi York Leeds Bristol Oxford Glasgow Cardiff Cork Galway Ghent Bruges Utrecht Delft""".split()

COLORS = """red blue green yellow black white brown pink purple orange gray silver golden violet
beige teal crimson scarlet turquoise navy olive maroon""".split()

# Things one can buy, hold or draw; plural() knows the irregular ones.
ITEMS = """lamp chair table book pen pencil cup plate bowl spoon fork knife bottle box bag basket hat coat
shirt shoe boot sock glove scarf belt ring watch clock mirror candle pillow blanket carpet curtain towel
brush comb key lock door window brick stone rope chain hammer saw nail screw drill ladder bucket shovel
rake pot pan kettle jar lid tray vase picture frame map letter stamp card coin ticket toy doll ball kite
drum flute guitar piano violin bell radio phone camera bike car boat train truck wheel tent flag apple
pear plum peach cherry lemon melon grape berry carrot onion potato tomato cake cookie pie sandwich egg
cheese button needle ribbon magnet marble puzzle sticker notebook folder desk sofa bench stool shelf
cabinet drawer helmet jacket sweater dress skirt tie umbrella backpack wallet fan heater broom mop
sponge whistle trumpet crown sword shield feather shell leaf flower rose tulip""".split()

ANIMALS = """cat dog fox bear wolf deer horse cow pig sheep goat hen duck goose mouse rat rabbit frog
snake turtle fish shark whale seal owl crow eagle swan parrot monkey tiger lion zebra camel donkey bee ant
spider beetle snail otter badger hedgehog squirrel pony lamb kitten puppy""".split()

FOODS = """tea milk coffee water juice bread rice soup honey butter salad pasta pizza cake fish beans corn
nuts jam toast cocoa lemonade porridge yogurt chocolate noodles cereal pancakes waffles popcorn""".split()

HOBBIES = """chess tennis football music painting dancing singing reading cooking running swimming
skiing sailing fishing hiking gardening knitting drawing rowing climbing""".split()

JOBS = """teacher doctor baker farmer pilot sailor nurse driver painter singer writer cook judge tailor
dentist lawyer builder plumber gardener waiter dancer fisher hunter miner soldier artist""".split()

PLACES = """park garden house school forest river lake beach market shop kitchen barn field library museum
station harbor castle bridge village hill valley island tower bakery""".split()

ADJECTIVES = """big small old new good bad happy sad hot cold fast slow tall short long wide narrow high
low deep loud quiet hard soft heavy light dark bright clean dirty dry wet rich poor strong weak full empty
early late open closed young thick thin sharp smooth rough sweet sour brave kind lazy busy calm angry
gentle clever proud shy warm cool fresh plain tiny huge""".split()

VERBS = """walk run jump sing dance read write draw cook eat drink sleep play work swim climb ride drive
build paint carry push pull throw catch open close wash clean find lose buy sell give take help watch
listen speak laugh cry smile wait""".split()

# Each pair reads in both directions; no word stands in two pairs, so every answer is unique.
OPPOSITES = """big/small old/new good/bad happy/sad hot/cold fast/slow tall/short wide/narrow high/low
deep/shallow loud/quiet hard/soft heavy/light dark/bright clean/dirty dry/wet rich/poor strong/weak
full/empty early/late open/closed thick/thin sharp/blunt smooth/rough sweet/sour brave/afraid lazy/busy
calm/angry up/down in/out left/right near/far day/night front/back first/last win/lose buy/sell
give/take push/pull start/stop come/go love/hate yes/no true/false north/south east/west above/below
inside/outside before/after always/never more/less many/few top/bottom black/white young/aged
laugh/cry remember/forget question/answer friend/enemy summer/winter morning/evening begin/end
float/sink arrive/leave cheap/expensive easy/difficult same/different safe/dangerous alive/dead
sick/healthy asleep/awake noisy/silent polite/rude simple/complex ancient/modern male/female
king/queen""".split()

IRREGULAR_PLURALS = {
    "knife": "knives", "shelf": "shelves", "leaf": "leaves", "wolf": "wolves", "mouse": "mice",
    "goose": "geese", "sheep": "sheep", "deer": "deer", "fish": "fish", "scarf": "scarves",
    "potato": "potatoes", "tomato": "tomatoes", "man": "men", "woman": "women", "child": "children",
    "foot": "feet", "tooth": "teeth", "person": "people", "cheese": "cheeses",
}

_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen""".split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()

_ONSETS = "b d f g h j k l m n p r s t v w z br dr fl gr kl pl sk st tr sh ch th".split()
_VOWELS = "a e i o u a e i o u ai ou ee".split()
_CODAS = "n r l s m k t x nd rk lt".split()


def plural(noun):
    """The plural of an English noun in our lists, or of a made-up noun (regular)."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def number_word(number, hyphen=False):
    """0 .. 99 in words: 42 -> "forty two", or "forty-two"."""
    if number < 20:
        return _UNITS[number]
    tens, unit = divmod(number, 10)
    if unit == 0:
        return _TENS[tens]
    return _TENS[tens] + ("-" if hyphen else " ") + _UNITS[unit]


def made_up(rng, capital=False):
    """A pronounceable word of two or three syllables that very likely means nothing."""
    word = ""
    for _ in range(3 if rng.chance(0.2) else 2):
        word += rng.pick(_ONSETS) + rng.pick(_VOWELS)
    if rng.chance(0.4):
        word += rng.pick(_CODAS)
    return word.capitalize() if capital else word


# Letters beyond ASCII, block by block: accents, Greek, Cyrillic, Hebrew, Arabic, Devanagari, dashes and
# quotes, currencies, kana, Han, Hangul, pictures.
_FOREIGN = [[chr(code) for code in range(first, last)] for first, last in [
    (0xC0, 0x180), (0x3B1, 0x3CA), (0x410, 0x450), (0x5D0, 0x5EB), (0x621, 0x63B), (0x905, 0x93A),
    (0x2010, 0x2023), (0x20A0, 0x20B2), (0x3041, 0x3095), (0x4E00, 0x9FA6), (0xAC00, 0xD7A4), (0x1F300, 0x1F650)]]
_SIGN_FORMS = [
    '{{"{a}": "{b}", "{c}": {n}}}', '{{"{a}": {n}, "{b}": true}}', '["{a}", "{b}", "{c}"]', '{{"{a}": "{b}"}}',
    "{a}({b}, {n});", "{a}_{b} = {n};", "{a}_{b}({c})", "| {a} | {b} | {n} |", "#{a} #{b} #{c}", "{a}; {b}; {c}",
    "{a}! {b}! {c}!", "({a}) ({b})", "[{a}] <{b}>", "<{a}>{b}</{a}>", "{a}@{b}.{c}", "{a} & {b} * {n}%",
    "'{a}' `{b}` ~{c}", "${n} ^ {a}", "{A} {B} {n}", "{a}\\{b}\\{c}", "{f} {g}", "{a} {f}", "{f}-{n}", "{A}{f}",
]


def foreign(rng):
    """A run of letters of one block beyond ASCII; means nothing."""
    block = rng.pick(_FOREIGN)
    return "".join(rng.pick(block) for _ in range(rng.between(1, 4)))


def signs(rng):
    """A line of code, data or foreign letters: every sign and byte the words above leave out."""
    a, b, c = (rng.pick(EVERYDAY) if rng.chance(0.6) else made_up(rng) for _ in range(3))
    capitals = [a.upper(), "".join(rng.pick("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.between(1, 3)))]
    return rng.pick(_SIGN_FORMS).format(a=a, b=b, c=c, n=rng.between(0, 999), A=capitals[0], B=capitals[1],
                                        f=foreign(rng), g=foreign(rng))


def person(rng, made_up_share=0.25):
    return made_up(rng, capital=True) if rng.chance(made_up_share) else rng.pick(NAMES)


def city(rng, made_up_share=0.2):
    return made_up(rng, capital=True) if rng.chance(made_up_share) else rng.pick(CITIES)


def item(rng, made_up_share=0.15):
    return made_up(rng) if rng.chance(made_up_share) else rng.pick(ITEMS)


def distinct(rng, count, draw):
    """`count` different values of draw(rng)."""
    values = []
    while len(values) < count:
        value = draw(rng)
        if value not in values:
            values.append(value)
    return values


def _everyday():
    words = dict.fromkeys(ITEMS + ANIMALS + FOODS + ADJECTIVES + VERBS + COLORS + PLACES + JOBS)
    return list(words)


EVERYDAY = _everyday()
