"""What every offline LLM can say without rules: who it is, hello, thanks, goodbye, help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greenroom.offline._rules import Rule

STAND_IN: Final = (
    "I am an offline stand-in for a language model. I match patterns and fill in templates; "
    "no AI model is behind me. Ask for help to hear what I can do."
)
GREETING: Final = "Hello! How can I help you?"
FAREWELL: Final = "Goodbye!"
NUDGE: Final = "Is there anything else I can help you with?"
CANNOT: Final = "I am sorry, I cannot do that just now."
NEVER_MIND: Final = "All right, never mind."
FALLBACK: Final = (
    "I am sorry, I did not understand that. Ask for help to hear what I can do.",
    "I did not catch that. You can ask me for help.",
)

_KIND: Final = "(ai|bot|robot|chatbot|machine|computer|human|person|language model|llm|chatgpt|gpt)"
# Tried before any rule: no rule can make the stand-in claim to be something else.
DISCLOSURE: Final = Rule(
    [
        f"(are you|is this) (a|an) [real|actual|live] {_KIND}",
        f"(am I|are we) [just] (talking|speaking|chatting) (to|with) [a|an] [real|actual|live] {_KIND}",
        "are you [really] (human|ai)",
        "^[hello|hi|and|so|but] (who|what) are you [really|exactly|then]$",
        "^[hello|hi|and|so|but] (who|what) am I (talking|speaking|chatting) (to|with)$",
        "^[hello|hi|and|so|but] are you real$",
        "^what (model|llm|ai) (are you|is this|do you use)$",
    ],
    STAND_IN,
)
CANCEL: Final = Rule(
    "^(never mind|nevermind|cancel [that|it]|forget (it|about it|that)|stop [it|that]|leave it)$", NEVER_MIND
)
HELP: Final = Rule(
    ["[please] help [me] [please]", "what can (you|I) (do|say|ask) [for me|here]", "what do you do"], STAND_IN
)
REPEAT: Final = Rule(
    [
        "^(say|repeat) that [again]$",
        "^(pardon|sorry|what|come again)$",
        "^[sorry] (can|could) you repeat [that]$",
        "^[sorry] what did you say$",
    ],
    NUDGE,
)
CHAT: Final = (
    Rule(
        "^(hello|hi|hey|good morning|good afternoon|good evening|hello hello) [there|again|everyone]$",
        ["Hello! How can I help you?", "Hi there! What can I do for you?"],
    ),
    Rule(
        ["how are you [doing] [today]", "how is it going", "how's it going"],
        ["I am well, thank you. How can I help you?", "All good here. What can I do for you?"],
    ),
    Rule(
        "[no] (thanks|thank you|cheers|much appreciated)", ["You are welcome.", "My pleasure. Is there anything else?"]
    ),
    Rule(["(bye|goodbye|good bye|see you|good night|farewell)", "have a (good|nice) (one|day|evening)"], FAREWELL),
)
# Not small talk while a question is open: there they are an answer.
REPLIES: Final = (
    Rule(
        "^(no|nope|that's all|that is all|nothing [else]|no that's (all|it))$",
        "All right. I am here if you need me.",
    ),
    Rule(
        "^(yes|yeah|yep|sure|okay|ok|alright|great|fine)$",
        ["What would you like?", "Good. What can I do for you?"],
    ),
)


def list_abilities(rules: Sequence[Rule]) -> str:
    """Say what the rules can do, in their order."""
    abilities = list(dict.fromkeys(rule.help for rule in rules if rule.help))
    if not abilities:
        return STAND_IN
    return f"You can say, for example: {', '.join(f'“{ability}”' for ability in abilities[:8])}."
