"""Arrays, structs, maps, JSON."""


def topic(Topic):
    t = Topic("nested", "Arrays, structs, maps and JSON")
    t.eval("""
        ARRAY[1, 2, 3]
        ARRAY['a', NULL, 'c']
        ARRAY[1.5, 2.25]  @loose
        ARRAY[true, false]
        ARRAY[ARRAY[1, 2], ARRAY[3, 4]]                       @want [[1,2],[3,4]]
        ARRAY[DATE '2026-01-01']
        (ARRAY[10, 20, 30])[1]
        (ARRAY[10, 20, 30])[3]
        (ARRAY[10, 20, 30])[4]
        (ARRAY[10, 20, 30])[0]
        (ARRAY['a', NULL])[2]
        cardinality(ARRAY[1, 2, 3])
        array_length(ARRAY[1, 2, 3], 1)
        array_append(ARRAY[1, 2], 3)
        array_prepend(0, ARRAY[1, 2])
        array_cat(ARRAY[1, 2], ARRAY[3])
        ARRAY[1, 2] || ARRAY[3]
        ARRAY[1, 2] || 3
        array_position(ARRAY['a', 'b', 'c'], 'b')
        array_position(ARRAY['a', 'b', 'c'], 'x')
        array_remove(ARRAY[1, 2, 1, 3], 1)
        array_replace(ARRAY[1, 2, 1], 1, 9)
        array_to_string(ARRAY[1, NULL, 3], ',', '-')
        ARRAY[1, 2] = ARRAY[1, 2]
        ARRAY[1, 2] <> ARRAY[1, 3]
        trim_array(ARRAY[1, 2, 3], 1)
    """)
    t.eval("""
        CAST('{"a":1,"b":"x"}' AS JSON) -> 'a'
        CAST('{"a":1,"b":"x"}' AS JSON) -> 'b'
        CAST('{"a":1,"b":"x"}' AS JSON) ->> 'a'
        CAST('{"a":1,"b":"x"}' AS JSON) ->> 'b'
        CAST('{"a":1}' AS JSON) -> 'missing'
        CAST('{"a":1}' AS JSON) ->> 'missing'
        CAST('{"a":null}' AS JSON) -> 'a'
        CAST('{"a":null}' AS JSON) ->> 'a'
        CAST('{"a":{"b":[1,2,{"c":true}]}}' AS JSON) -> 'a' -> 'b' -> 2 -> 'c'
        CAST('{"a":{"b":[1,2,{"c":true}]}}' AS JSON) -> 'a' ->> 'b'
        CAST('[10,20,30]' AS JSON) -> 0
        CAST('[10,20,30]' AS JSON) -> -1
        CAST('[10,20,30]' AS JSON) ->> 1
        CAST('[10,20,30]' AS JSON) -> 3
        CAST('[10,20,30]' AS JSON) -> 'a'
        CAST('{"a":"Z\\u00fcrich"}' AS JSON) ->> 'a'
        CAST('{"a":"x\\ny"}' AS JSON) ->> 'a'
        CAST('{"a":1.50}' AS JSON) ->> 'a'
        CAST('"text"' AS JSON)
        CAST('[1,"a",null,{"b":[]}]' AS JSON)
        CAST(CAST('{"n":42}' AS JSON) ->> 'n' AS BIGINT) + 1  @want 43
        json_array_length(CAST('[1,2,3]' AS JSON))
        json_array_length(CAST('[]' AS JSON))
        json_typeof(CAST('{"a":1}' AS JSON))
        json_typeof(CAST('[1]' AS JSON))
        json_typeof(CAST('1.5' AS JSON))
        json_typeof(CAST('"a"' AS JSON))
        json_typeof(CAST('true' AS JSON))
        json_typeof(CAST('null' AS JSON))
        json_extract_path(CAST('{"a":{"b":7}}' AS JSON), 'a', 'b')
        json_extract_path_text(CAST('{"a":{"b":"x"}}' AS JSON), 'a', 'b')
        CAST('{not json' AS JSON)
        CAST('' AS JSON)
        TRY_CAST('{not json' AS JSON)
        json_value(CAST('{"a":{"b":[1,2]}}' AS JSON), '$.a.b[1]')     @want "2"
        json_value('{"a":"x"}', '$.a')                                @want "x"
        json_value('{"a":"x"}', '$.b')                                @want null
        json_value('{"a":[1]}', '$.a')                                @want null
        json_query('{"a":{"b":[1,2]}}', '$.a.b')                      @want [1,2]
        json_query('{"a":{"b":[1,2]}}', '$.x')                        @want null
        json_exists('{"a":{"b":1}}', '$.a.b')                         @want true
        json_exists('{"a":{"b":1}}', '$.a.c')                         @want false
    """)
    t.input("a", "id BIGINT, xs ARRAY<BIGINT>, names ARRAY<VARCHAR>, ds ARRAY<DOUBLE>", """
        {"id":1,"xs":[1,2,3],"names":["a","b"],"ds":[1.5,-2.5]}
        {"id":2,"xs":[],"names":[],"ds":[]}
        {"id":3,"xs":null,"names":null,"ds":null}
        {"id":4,"xs":[null,7],"names":["Zürich",null,"東京"],"ds":[0.1]}
        {"id":5,"xs":[9223372036854775807],"names":["x"],"ds":[null]}
    """)
    t.eval("""
        xs
        names
        ds
        xs[1]
        xs[2]
        xs[0]
        xs[id]                                                @pg xs[id::int]
        names[1] || '!'
        xs[1] + 1                                             @pg xs[1]::numeric + 1   @err overflow
        cardinality(xs)
        array_to_string(names, ',')
        array_position(xs, 7)
        xs = ARRAY[1, 2, 3]                                   @pg xs = ARRAY[1,2,3]::bigint[]
        array_append(xs, 0)                                   @pg array_append(xs, 0::bigint)
        xs IS NULL
        COALESCE(xs[1], 0)
        2 = ANY(xs)
    """, over="a")
    t.query("UNNEST in FROM", "SELECT id, x FROM a CROSS JOIN UNNEST(a.xs) AS u(x)", pg=True)
    t.query("UNNEST after a comma", "SELECT id, x FROM a, UNNEST(xs) AS u(x)", pg=True)
    t.query("UNNEST of strings with WHERE", "SELECT id, upper(n) AS n FROM a CROSS JOIN UNNEST(names) AS u(n) WHERE n <> 'b'", pg=True)
    t.query("UNNEST of a literal", "SELECT x * 10 AS y FROM UNNEST(ARRAY[1, 2, 3]) AS u(x)", pg=True)
    t.query("UNNEST with LIMIT", "SELECT id, x FROM a CROSS JOIN UNNEST(a.xs) AS u(x) LIMIT 2", pg=True)
    t.query("UNNEST WITH ORDINALITY", "SELECT id, x, n FROM a CROSS JOIN UNNEST(a.xs) WITH ORDINALITY AS u(x, n)", pg=True)
    t.query("LEFT JOIN UNNEST keeps rows without elements", "SELECT id, x FROM a LEFT JOIN UNNEST(a.xs) AS u(x) ON true", pg=True)
    t.query("UNNEST of a number", "SELECT x FROM a CROSS JOIN UNNEST(a.id) AS u(x)", error="")
    t.input("n", "id BIGINT, s STRUCT<name VARCHAR, pos STRUCT<x BIGINT, y DOUBLE>>, m MAP<VARCHAR, BIGINT>, items ARRAY<STRUCT<sku VARCHAR, price DECIMAL(8,2)>>, j JSON", """
        {"id":1,"s":{"name":"a","pos":{"x":1,"y":2.5}},"m":{"k":1,"l":2},"items":[{"sku":"p","price":1.50},{"sku":"q","price":20.00}],"j":{"a":[1,2]}}
        {"id":2,"s":{"name":"Zoë","pos":null},"m":{},"items":[],"j":[1,"x",null]}
        {"id":3,"s":null,"m":null,"items":null,"j":null}
        {"id":4,"s":{"pos":{"y":0.5}},"m":{"k":null},"items":[{"sku":"r"},null],"j":"text"}
        {"id":5,"s":{"name":"b","pos":{"x":-1,"y":-0.25},"extra":true},"m":{"ü":7},"items":[{"price":0.10,"sku":"t"}],"j":1.50}
    """)
    t.eval("""
        s                          @want [{"name":"a","pos":{"x":1,"y":~2.5}},{"name":"Zoë","pos":null},null,{"name":null,"pos":{"x":null,"y":~0.5}},{"name":"b","pos":{"x":-1,"y":~-0.25}}]
        s.name                     @want ["a","Zoë",null,null,"b"]
        n.s.name                   @want ["a","Zoë",null,null,"b"]
        (s).name                   @want ["a","Zoë",null,null,"b"]
        s.pos.x                    @want [1,null,null,null,-1]
        s.pos.y * 2                @want [~5.0,null,null,~1.0,~-0.5]
        s.pos                      @want [{"x":1,"y":~2.5},null,null,{"x":null,"y":~0.5},{"x":-1,"y":~-0.25}]
        m                          @want [{"k":1,"l":2},{},null,{"k":null},{"ü":7}]
        m['k']                     @want [1,null,null,null,null]
        m['ü']                     @want [null,null,null,null,7]
        m['k'] + 1                 @want [2,null,null,null,null]
        items                      @want [[{"sku":"p","price":1.50},{"sku":"q","price":20.00}],[],null,[{"sku":"r","price":null},null],[{"sku":"t","price":0.10}]]
        items[1].sku               @want ["p",null,null,"r","t"]
        items[2].price             @want [20.00,null,null,null,null]
        items[1].price * 2         @want [3.00,null,null,null,0.20]
        cardinality(items)         @want [2,0,null,2,1]
        j                          @want [{"a":[1,2]},[1,"x",null],null,"text",1.50]
        j -> 'a'                   @want [[1,2],null,null,null,null]
        j -> 'a' ->> 0             @want ["1",null,null,null,null]
        j ->> 1                    @want [null,"x",null,null,null]
        s IS NULL                  @want [false,false,true,false,false]
        s.name = 'a'               @want [true,false,null,null,false]
        upper(s.name)              @want ["A","ZOË",null,null,"B"]
    """, over="n")
    t.query("UNNEST of structs", "SELECT id, i.sku, i.price FROM n CROSS JOIN UNNEST(n.items) AS i WHERE i.price > 1", rows="""
        {"id":1,"sku":"p","price":1.50}
        {"id":1,"sku":"q","price":20.00}
    """)
    t.query("a field that is not there is named", "SELECT s.nmae FROM n", error="name")
    t.query("a number has no fields", "SELECT id.name FROM n", error="")
    return t
