"""Closed word lists that the rules read questions with."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words without meaning of their own.
STOPWORDS = _set(
    """a an the this that these those here it its it's he she him her his they them their we us our you your i me my
    is are was were be been being am do does did done doing has have had having will would can could shall should may
    might must of in on at to from by for with about into onto over under up down out off as than then so too very just
    also and or nor but if not no yes what which who whom whose when where why how many much any some all each every
    please tell video clip film movie footage recording scene moment time times point part ever exactly actually get
    gets got let let's well okay ok um uh one ones something someone anything anyone often there"""
)

#: Acts of speaking, who speaks, and who listens.
SPEECH_VERBS = _set(
    """say says said saying mention mentions mentioned mentioning mention speak speaks spoke speaking spoken talk talks
    talked talking tells told telling explain explains explained explaining discuss discusses discussed discussing
    announce announces announced announcing utter uttered utters hear heard hears hearing narrate narrated claim claims
    claimed ask asks asked stated stating"""
)
SPEAKERS = _set(
    """speaker speakers narrator narration narrators commentator presenter voice host reporter announcer lecturer
    audio speech transcript teacher professor interviewer quote utterance dialogue"""
)

#: What carries writing, and acts of writing and reading.
TEXT_NOUNS = _set(
    """text caption captions subtitle subtitles slide slides title titles sign signs label labels banner headline
    headlines heading headings credits lettering letters writing inscription logo poster board whiteboard blackboard
    onscreen screen overlay subtitled spelling"""
)
TEXT_VERBS = _set("write writes written wrote reads printed spelled typed inscribed labelled labeled titled captioned")

#: Acts of being visible, and things that detectors know.
MOTION_VERBS = _set("enter enters entered entering leave leaves left leaving cross crosses crossed crossing")
OBJECT_VERBS = MOTION_VERBS | _set(
    "see sees saw seen seeing visible appear appears appeared appearing moving moves move moved"
)
COLOURS = _set("red orange yellow green blue cyan purple violet pink brown black white gray grey")
OBJECT_NOUNS = _set(
    """face faces person people man men woman women child children car cars truck bus dog dogs cat cats bird birds
    ball balls object objects animal animals bicycle bike motion movement bottle cup chair table phone laptop"""
)

#: What only looking at the picture tells.
VISUAL_WORDS = _set(
    """color colour colors colours wearing wears wear dressed shape shapes holding holds look looks picture image
    background foreground visually depicted depict depicts"""
)

#: What happens to things that are seen; of a thing that is named by its colour only looking tells.
VISIBLE_ACTS = _set(
    """meet meets met touch touches touched reach reaches hit hits run runs become becomes became turn turns turned
    change changes changed go goes direction way"""
)

#: Words of a question that name the medium, the act of perceiving or the order, and say nothing about the content.
MEDIUM_WORDS = (
    SPEECH_VERBS
    | SPEAKERS
    | TEXT_VERBS
    | _set(
        """text screen onscreen on-screen caption captions subtitle subtitles slide slides title titles sign label
        banner headline heading lower third overlay credits write writing read reads reading display displays displayed
        displaying show shows shown showing word words phrase sentence line visible see sees seen appear appears
        appeared appearing occur occurs occurred happen happens happened happening look looks looking like first last
        second final next previous following right immediately shortly directly beginning start starts end ending after
        before while during between until since once around contain contains contained call called name named names
        describe describes described true false correct answer refer refers referred come comes came go goes went
        following statement statements according thing things topic subject kind type sort else"""
    )
)

_RELATED_ONE_WAY = {
    "depth": "deep deeper deepest",
    "length": "long longer longest",
    "height": "high tall higher taller highest tallest elevation altitude",
    "tall": "high",
    "width": "wide wider widest broad",
    "weight": "weigh weighs weighed heavy",
    "heavy": "weigh weighs",
    "mass": "weigh weighs",
    "speed": "fast faster fastest velocity",
    "age": "old older",
    "distance": "far away",
    "temperature": "degrees celsius fahrenheit",
    "hot": "degrees",
    "cold": "degrees",
    "price": "cost costs worth",
    "population": "inhabitants residents",
    "duration": "long lasts lasted last",
    "size": "big large",
    "birth": "born",
    "founder": "founded",
    "inventor": "invented",
    "author": "wrote written",
    "winner": "won wins win",
    "death": "died dead",
    "begin": "start starts started begins began",
    "start": "begin begins began",
    "colour": "color",
    # A thing whose colour is named answers what colour it has.
    "color": " ".join(sorted(COLOURS)),
    "car": "vehicle automobile",
    "build": "built",
    "many": "number",
}


_RELATED_ONE_WAY["colour"] += " " + _RELATED_ONE_WAY["color"]


def _both_ways(pairs: dict[str, str]) -> dict[str, frozenset[str]]:
    related: dict[str, set[str]] = {}
    for word, others in pairs.items():
        for other in others.split():
            related.setdefault(word, set()).add(other)
            related.setdefault(other, set()).add(word)
    return {word: frozenset(others) for word, others in related.items()}


#: Attributes and the words that a statement uses for them.
RELATED: dict[str, frozenset[str]] = _both_ways(_RELATED_ONE_WAY)

#: Words that make a question one about an amount.
QUANTITY_WORDS = _set(
    """depth length height length width weight mass speed age distance temperature price cost population duration size
    number amount percentage percent rate altitude elevation year score total diameter radius volume area"""
)
MEASURE_ADJECTIVES = _set("deep long high tall wide heavy fast old far hot cold big large much many expensive thick")

NEGATIONS = _set("not no never none neither nor without cannot isn't aren't wasn't doesn't don't didn't won't can't")

#: Verbs of a "when" that asks for a date in the story, not for a time in the video.
DATED_VERBS = _set(
    "built born founded invented founded established completed discovered opened died launched signed written happened"
)
