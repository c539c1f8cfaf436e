"""LIKE, ILIKE, SIMILAR TO, regular expressions."""


def topic(Topic):
    t = Topic("patterns", "LIKE, ILIKE, SIMILAR TO and regular expressions")
    pairs = [
        ("abc", "abc"), ("abc", "ABC"), ("abc", "a%"), ("abc", "%c"), ("abc", "%b%"), ("abc", "_b_"), ("abc", "a_"), ("abc", "___"),
        ("abc", "____"), ("abc", "%"), ("", "%"), ("", ""), ("", "_"), ("abc", ""), ("abc", "%%"), ("abc", "%_%"), ("abc", "a%c%"),
        ("aXbXc", "a%b%c"), ("aaa", "a%a"), ("a", "a%a"), ("abab", "%ab"), ("abcabd", "%abd"), ("a%c", "a\\%c"), ("abc", "a\\%c"),
        ("a_c", "a\\_c"), ("abc", "a\\_c"), ("a\\c", "a\\\\c"), ("a.c", "a.c"), ("abc", "a.c"), ("a*c", "a*c"), ("(x)", "(x)"), ("[x]", "[x]"),
        ("a\nb", "a%b"), ("a\nb", "a_b"), ("東京", "東_"), ("東京", "__"), ("Zürich", "z%"), ("Zürich", "Z_rich"), ("🚀x", "_x"), ("ÄB", "äb"),
    ]

    def quote(s):
        return "E'" + s.replace("\\", "\\\\").replace("\n", "\\n") + "'" if "\n" in s else "'" + s + "'"

    for op in ("LIKE", "ILIKE"):
        t.eval("\n".join(f"{quote(s)} {op} {quote(p)}" for s, p in pairs if op == "LIKE" or "\n" not in s))
    t.eval("""
        'abc' NOT LIKE 'a%'
        'abc' NOT LIKE 'b%'
        'abc' NOT ILIKE 'A%'
        NULL LIKE 'a'
        'a' LIKE NULL
        NULL NOT LIKE 'a'
        'a%c' LIKE 'a!%c' ESCAPE '!'
        'abc' LIKE 'a!%c' ESCAPE '!'
        'a_c' LIKE 'a#_c' ESCAPE '#'
        'a\\c' LIKE 'a\\c' ESCAPE ''
        'abc' LIKE 'ab\\'                         @check escape
        'abc' SIMILAR TO 'abc'
        'abc' SIMILAR TO 'a'
        'abc' SIMILAR TO '%(b|d)%'
        'abc' SIMILAR TO '(b|c)%'
        'abc' SIMILAR TO 'a_c'
        'abc' SIMILAR TO '[a-c]+'
        'abc' SIMILAR TO '[^a-c]+'
        'aaa' SIMILAR TO 'a{3}'
        'aaa' SIMILAR TO 'a{2}'
        'aaaa' SIMILAR TO 'a{2,4}'
        'ac' SIMILAR TO 'ab?c'
        'abbc' SIMILAR TO 'ab*c'
        'abc' SIMILAR TO 'x|abc'
        'a.c' SIMILAR TO 'a.c'
        'abc' SIMILAR TO 'a.c'
        'abc' NOT SIMILAR TO 'b%'
        NULL SIMILAR TO 'a'
        'abc' ~ '^a'
        'abc' ~ 'b'
        'abc' ~ '^b'
        'abc' ~* 'B'
        'abc' !~ 'b'
        'abc' !~* 'X'
        'abc' ~ 'a.c'
        'abc' ~ '^(a|x)b'
        'ab12' ~ '[0-9]+$'
        'ab12' ~ '\\d{2}'
        'a b' ~ '\\s'
        '東京' ~ '^..$'
        NULL ~ 'a'
        'a' ~ NULL
        'a' ~ '('                                 @check
        regexp_replace('foobarbaz', 'b..', 'X')
        regexp_replace('foobarbaz', 'b..', 'X', 'g')
        regexp_replace('foobarbaz', 'b(..)', 'X\\1Y', 'g')
        regexp_replace('Hello World', 'o', '0', 'gi')
        regexp_replace('hello', 'L', '_', 'gi')
        regexp_replace('2026-01-31', '(\\d+)-(\\d+)-(\\d+)', '\\3.\\2.\\1')
        regexp_replace('abc', 'x', 'y')
        regexp_replace('abc', '', '-', 'g')
        regexp_replace('a.b.c', '\\.', '', 'g')
        regexp_replace(NULL, 'a', 'b')
        regexp_replace('abc', '(b)', '[\\&]')
        regexp_like('abc', 'B')
        regexp_like('abc', 'B', 'i')
        regexp_like('abc', '^a.c$')
        regexp_count('abcabc', 'b')
        regexp_count('aaa', 'aa')
        regexp_count('abc', 'x')
        regexp_substr('foobarbaz', 'b..')
        regexp_substr('foobarbaz', 'b..', 1, 2)
        regexp_substr('abc', 'x')
        regexp_instr('foobarbaz', 'b..')
        regexp_instr('abc', 'x')
        regexp_match('foobarbequebaz', 'bar.*que')
        regexp_match('foobarbequebaz', '(bar)(beque)')
        regexp_match('abc', 'x')
        regexp_split_to_array('hello world  again', '\\s+')
        regexp_split_to_array('a,b;c', '[,;]')
    """)
    t.input("p", "id BIGINT, s VARCHAR, q VARCHAR", """
        {"id":1,"s":"alpha","q":"a%"}
        {"id":2,"s":"Beta","q":"%A"}
        {"id":3,"s":"100%","q":"100\\\\%"}
        {"id":4,"s":"a_b","q":"a\\\\_b"}
        {"id":5,"s":null,"q":"%"}
        {"id":6,"s":"γάμμα","q":"γ____"}
        {"id":7,"s":"","q":""}
        {"id":8,"s":"x.y","q":null}
        {"id":9,"s":"line\\nbreak","q":"line_break"}
    """)
    t.eval("""
        s LIKE q
        s ILIKE q
        s NOT LIKE q
        s LIKE '%a%'
        s LIKE 'a%'
        s LIKE '%a'
        s LIKE 'alpha'
        s ILIKE '%B%'
        s LIKE '%\\%'
        s LIKE '_\\__'
        s LIKE '_____'
        s SIMILAR TO '(a|x)%'
        s ~ '^[a-z]+$'
        s ~* '^[a-z]+$'
        s !~ 'a'
        s ~ '\\.'
        s ~ 'e.b'
        s ~ '^b'
        regexp_replace(s, '[aeiou]', '*', 'g')
        regexp_count(s, '[a-z]')
        regexp_match(s, '([a-z])([a-z])')
    """, over="p")
    return t
