#!/usr/bin/env python3
"""Writes tests/golden/templates.jsonl: small templates and what Jinja2, set up as transformers does, makes of them.

usage: tests/golden/make_templates.py > tests/golden/templates.jsonl
"""

import importlib.machinery
import importlib.util
import json
import os
import random
import sys
import warnings

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SEED, PROGRAMS = 20240726, 700

MESSAGES = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": " Hi \n"},
                         {"role": "assistant", "content": "Yo<é🤗>", "tool_calls": [
                             {"function": {"name": "f", "arguments": {"a": [1, 2.0, None, True, "x\n"], "b": {}}}}]},
                         {"role": "tool", "content": "7"}], "bos_token": "<s>", "add_generation_prompt": True}

# Each construct that real templates use, by hand.
CASES = [
    # whitespace
    "a\n{% if true %}\n  b\n{% endif %}\nc\n", "  {% if true %}x{% endif %}  \n", "a {{- 1 -}} b", "a\n\n  {%- if true -%}\n\n b {%- endif %}",
    "{% if true +%}\n x\n  {%+ if true %}y{% endif %}{% endif %}", "{#- c -#}  x  {#+ d #}\n y {# e #}", "\n\nx\n\n", "a\r\nb\rc\r\n",
    "{% raw %}\n {{ x }} {% y %}{% endraw %}\nz", "{%- raw -%} {{ {%- endraw -%} \n z", "\t{%- set x = 1 %}\n{{ x }}", "{{ 'a' }}\n{{ 'b' }}\n",
    # loops
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ loop.first }}{{ loop.last }} {{ m.role }}\n{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}>{{ loop.nextitem.role }} {{ loop.revindex0 }}|{% endfor %}",
    "{% for m in messages if m.role != 'system' %}{{ loop.index0 }}{{ m.role }}{% else %}none{% endfor %}",
    "{% for x in [] %}a{% else %}b{% endfor %}{% for x in [1] %}{% continue %}{% else %}c{% endfor %}{% for x in [1, 2] %}{% break %}{% else %}d{% endfor %}",
    "{% for k, v in {'a': 1, 'b': [2]}.items() %}{{ k }}={{ v }};{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a + b * c }}{% endfor %}",
    "{% for n in [{'v': 1, 'c': [{'v': 2, 'c': []}]}] recursive %}{{ loop.depth }}{{ n.v }}({{ loop(n.c) }}){% endfor %}",
    "{% for x in range(5) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{{ loop.cycle('a', 'b') }}{{ loop.changed(x // 2) }}{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = i * 10 %}{{ x }};{% endfor %}{{ x }}",
    "{% for a in [1, 2] %}{% for b in [3, 4] %}{{ loop.index }}{{ a }}{{ b }} {% endfor %}{{ loop.index }}\n{% endfor %}",
    "{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.s = ns.s ~ m.role[0] %}{% endfor %}{{ ns.n }}{{ ns.s }}{{ ns }}",
    # macros
    "{% macro m(a, b=2, c=a) %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, c=5) }}{{ m(b=3, a=4) }}{{ m('x' ~ m(0)) }}",
    "{% macro t(x) %}{% if x is mapping %}{{ '{' }}{% for k, v in x.items() %}{{ k }}:{{ t(v) }}{{ ',' if not loop.last }}{% endfor %}}{% elif x is iterable and x is not string %}[{% for v in x %}{{ t(v) }};{% endfor %}]{% else %}{{ x }}{% endif %}{% endmacro %}{{ t(messages) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}{{ m }}{{ m.name }}",
    "{% macro m(x) %}<{{ caller(x + 1) }}>{% endmacro %}{% call(y) m(1) %}{{ y }}{% endcall %}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}", "{% macro m(a) %}{{ a }}{{ a.b }}{% endmacro %}{{ m() }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    # set, with, filter blocks
    "{% set x %}  hi {{ bos_token }}{% endset %}[{{ x }}]{% set y | trim | upper %} a {% endset %}[{{ y }}]{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}{% filter replace('a', 'b') | upper %}banana{% endfilter %}",
    "{% if false %}{% set x = 1 %}{% endif %}{{ x is defined }}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    # operators
    "{{ 1 + 2 * 3 ** 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** -1 }} {{ 1.5 // 0.4 }} {{ 'ab' * 2 }} {{ [1] + [2] }} {{ 'a' ~ 1 ~ none }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 'a' in 'abc' }} {{ 2 not in [1] }} {{ 'k' in {'k': 1} }} {{ not true and false or 5 }} {{ [] or {} or 'x' }}",
    "{{ '%s-%05.2f-%d-%x-%%' % ('a', 3.14159, 42, 255) }} {{ '%(a)s' % {'a': 1} }} {{ '{}{1}' }} {{ '{} {:>4} {x!r} {y[0]:.1f}'.format(1, 'a', x='q', y=[2.55]) }}",
    "{{ 'abcdef'[1:4] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[-2:] }} {{ [1, 2, 3, 4][::2] }} {{ 'héllo🤗'[-1] }} {{ (1, 2, 3)[5:] }} {{ range(10)[2:8:3] }} {{ messages[::-1][0].role }}",
    "{{ (1 if false) is undefined }}{{ 'x' if true }}{{ 1 if 0 else 2 if 0 else 3 }} {{ 'a' 'b' \"c\" }} {{ [1, (2,), {'k': none, 1: 'it\\'s'}] }} {{ 1e16 }} {{ 0.1 + 0.2 }} {{ 1_000 }} {{ 0x1f }}",
    "{{ 9223372036854775807 + 1 }}", "{{ 1 / 0 }}", "{{ 'a' + 1 }}", "{{ [] < {} }}", "{{ none.x }}{{ none['x'] }}", "{{ x.y }}", "{{ x.y.z }}", "{{ messages[9].role }}", "{{ messages.foo.bar }}", "{{ nope() }}",
    # filters and tests
    "{{ messages | tojson }}\n{{ messages[2] | tojson(indent=2) }}\n{{ {'b': 1, 'a': 'é<&>'} | tojson(sort_keys=true, separators=(',', ':'), ensure_ascii=true) }}",
    "{{ messages | map(attribute='role') | join(', ') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | rejectattr('tool_calls', 'defined') | map(attribute='content') | list }}",
    "{{ [3, 1, 2] | sort }} {{ ['b', 'A'] | sort | first }} {{ [1, 2, 3] | sum }} {{ {'b': 1, 'a': 2} | dictsort }} {{ [1, 1, 2] | unique | list }} {{ 'x' | default('y') }} {{ nope | default('z') }} {{ '' | default('e', true) }}",
    "{{ ' a ' | trim }} {{ 'hello world' | title }} {{ 'HELLO' | capitalize }} {{ 'a,b'.split(',') }} {{ 'abc' | replace('b', 'X') }} {{ 'a\\nb' | indent(2, true) }} {{ [1, 2, 3, 4, 5] | batch(2, 'x') | list }} {{ 3.7 | int }} {{ '12' | int + 1 }} {{ 2.5 | round }}",
    "{{ '<b>' | safe }}{{ '<b>' | e }}{{ ('<' | safe) + '<' }}{{ 'a' | safe ~ '<' }}{{ messages | items }}", "{{ messages[0] | items | list }} {{ [1, 2] | last }} {{ [] | first }}{{ 'abc' | list }} {{ 'abc' | reverse }} {{ [1, 2] | reverse | list }}",
    "{{ 1 is number }} {{ 'a' is string }} {{ none is none }} {{ [] is iterable }} {{ {} is mapping }} {{ 3 is odd }} {{ 4 is divisibleby 2 }} {{ x is defined }} {{ true is boolean }} {{ 1.0 is float }} {{ [] is sequence }} {{ 'a' is in ['a'] }} {{ 'A' is upper }}",
    "{{ x | nofilter }}", "{% if false %}{{ 1 | nofilter }}{% endif %}ok", "{{ 1 is notest }}", "{{ range(100001) | length }}", "{{ range(100000) | length }}",
    # sandbox, functions
    "{{ [].append(1) }}", "{{ ''.__class__ }}|{{ ''.__class__.__mro__ }}", "{{ {}.update({'a': 1}) }}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{{ raise_exception('Conversation roles must alternate') }}",
    "{% macro f(a, b=1, caller=2) %}{% endmacro %}{{ f.name }}{{ f.arguments }}{{ f.explicit_caller }}{{ f.nope }}",
    "{% set c = cycler('x', [1]) %}{{ c.items }}{{ c.pos }}{{ c.next() }}{{ c.pos }}{{ c.reset() }}{{ c.pos }}",
    "{{ strftime_now('%d %b %Y') }} {{ dict(a=1, **{'b': 2}) }} {% set c = cycler(1, 2) %}{{ c.next() }}{{ c.next() }}{{ c.current }} {% set j = joiner('|') %}{{ j() }}a{{ j() }}b",
    # generation
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<end>{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}",
    "é{% generation %}ü{% endgeneration %}{% set x %}{% generation %}q{% endgeneration %}{% endset %}{{ x }}",
    # syntax errors
    "{{ 1 + }}", "{% if %}", "{% for x in y %}", "{% endif %}", "{{ 'a }}", "{% foo %}", "{{ a b }}", "{% set 1 = 2 %}", "{{ (1 }}", "{# x", "a\n\n{{ }}", "{% for loop in x %}{% endfor %}", "{% break %}", "{{ f(a=1, 2) }}", "{{ x is is y }}",
]


def load_campaign():
    loader = importlib.machinery.SourceFileLoader("campaign", os.path.join(ROOT, "scripts/template_campaign"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("campaign", loader))
    loader.exec_module(module)
    return module


def write(campaign, compile_template, template, context):
    row = {"template": template, "context": context}
    try:
        render = compile_template(template)
        text, indices, error = campaign.expect(render, context, campaign.has_marks(template))
    except Exception as broken:
        text, indices, error = None, None, "%s: %s" % (type(broken).__name__, broken)
    if error and error.startswith(("RecursionError", "MemoryError")):
        error = "a limit"
    if error is None:
        row["text"] = text
        row["spans"] = campaign.byte_spans(text, indices or [])
    else:
        row["error"] = error
    print(json.dumps(row, ensure_ascii=False))


def main():
    warnings.simplefilter("ignore")
    campaign = load_campaign()
    compile_template = campaign.oracle()
    campaign.learn_suffixes()
    for template in CASES:
        write(campaign, compile_template, template, MESSAGES)
    r = random.Random(SEED)
    grammar = campaign.Grammar(r)
    for _ in range(PROGRAMS):
        write(campaign, compile_template, grammar.program(), grammar.context())
    return 0


if __name__ == "__main__":
    sys.exit(main())
