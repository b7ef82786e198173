-- The values of the suite, made by PostgreSQL itself. Each section is a column type and a query of one column, whose
-- values are cast to the type; equal ones count once. `since N`: from that version on; `needs NAME`: only where the
-- extension can be made. `gen.around(low, high)` are the numbers at and next to powers of two and ten in a range.

--# boolean
VALUES ('t'), ('f')

--# smallint
SELECT gen.around(-32768, 32767)

--# integer
SELECT gen.around(-2147483648, 2147483647)

--# bigint
SELECT gen.around(-9223372036854775808, 9223372036854775807)

--# oid
SELECT gen.around(0, 4294967295)::text

--# xid
SELECT v::text FROM gen.around(0, 4294967295) v WHERE v::text ~ '[37]$'

--# cid
VALUES ('0'), ('1'), ('4294967295')

--# xid8
SELECT v::text FROM gen.around(0, 18446744073709551615) v WHERE v > 4294967295 OR v < 2

--# real
SELECT unnest('{0,-0,NaN,Infinity,-Infinity,1e-45,-1e-45,1.1754942e-38,1.17549435e-38,3.4028235e+38,-3.4028235e+38,0.1,
    0.3,1e5,1e6,1e15,1e16,123456.7,16777216,16777217,8388608.5,1e-4,1e-5,9.9999e-5,1e20,1e22,1e23}'::real[])
UNION ALL SELECT (s * 2::float8 ^ k)::real FROM generate_series(-149, 127, 6) k, (VALUES (1), (-1)) s(s)
UNION ALL SELECT (n::float8 / 7 * 10 ^ (n % 60 - 30))::real FROM generate_series(1, 60) n

--# double precision
SELECT unnest('{0,-0,NaN,Infinity,-Infinity,5e-324,-5e-324,1e-320,2.225073858507201e-308,2.2250738585072014e-308,
    1.7976931348623157e308,-1.7976931348623157e308,0.1,0.3,0.30000000000000004,1e15,1e16,1e17,1e21,1e22,1e23,1e-4,1e-5,
    9007199254740991,9007199254740992,9007199254740993,9223372036854775807,18446744073709551615,123456789012345680,
    4.35,100,1e100,1.5e300,2.5e-300}'::float8[])
UNION ALL SELECT s * 2::float8 ^ k FROM generate_series(-1074, 1023, 29) k, (VALUES (1), (-1)) s(s)
UNION ALL SELECT n::float8 / 7 * 10::float8 ^ (n * 9 - 270) FROM generate_series(1, 60) n

--# numeric
SELECT unnest('{NaN,Infinity,-Infinity,0,-0.0,0.0,0.000000,1.0,1.10,1.100,-1.5,0.1,0.10,1e-1000,1e1000,-1e-38,1e38,
    99999999999999999999999999999999999999,100000000000000000000000000000000000000,
    170141183460469231731687303715884105727,170141183460469231731687303715884105728}'::numeric[])
UNION ALL SELECT s * 10::numeric ^ k FROM generate_series(-40, 40) k, (VALUES (1), (-1)) s(s)
UNION ALL SELECT round(1234567890.123456789012345678901234567890, s) FROM generate_series(-9, 30) s
UNION ALL SELECT repeat('9', n)::numeric FROM unnest('{1,2,3,4,5,8,9,17,18,19,20,27,28,37,38,39,76,77,1000}'::int[]) n
UNION ALL SELECT (repeat('9', 131072) || '.' || repeat('7', 16383))::numeric
UNION ALL SELECT ('0.' || repeat('0', 16382) || '1')::numeric
UNION ALL SELECT -(repeat('12', 65536))::numeric

--# numeric(10,2)
SELECT s * v FROM unnest('{0,0.01,0.10,1,1.5,12.34,99.99,100,12345678.9,99999999.99}'::numeric[]) v, (VALUES (1), (-1)) s(s)

--# numeric(38,10)
SELECT unnest('{9999999999999999999999999999.9999999999,-9999999999999999999999999999.9999999999,0,0.0000000001,
    -0.0000000001,1234567890.0123456789}'::numeric[])
UNION ALL SELECT s * 10::numeric ^ k FROM generate_series(-10, 27) k, (VALUES (1), (-1)) s(s)

--# numeric(38,0)
SELECT unnest('{99999999999999999999999999999999999999,-99999999999999999999999999999999999999,0}'::numeric[])
UNION ALL SELECT 10::numeric ^ k + 1 FROM generate_series(0, 37) k

--# numeric(38,38)
SELECT unnest('{0.99999999999999999999999999999999999999,-0.99999999999999999999999999999999999999,0}'::numeric[])
UNION ALL SELECT 10::numeric(50,45) ^ -k FROM generate_series(1, 38, 4) k

--# numeric(18,9)
SELECT unnest('{999999999.999999999,-999999999.999999999,0.000000001,1.5,0}'::numeric[])

--# numeric(60,30)
SELECT unnest('{NaN,123456789012345678901234567890.123456789012345678901234567890,-0.000000000000000000000000000001,0,
    999999999999999999999999999999.999999999999999999999999999999}'::numeric[])

--# numeric(1000,500)
SELECT (s || repeat('9', n) || '.' || repeat('7', n))::numeric FROM unnest('{1,38,499,500}'::int[]) n, (VALUES ('-'), ('')) s(s)

--# numeric(3,5) since 15
VALUES (0.00123), (-0.00999), (0)

--# numeric(3,-2) since 15
VALUES (12300), (-99900), (0)

--# money
SELECT unnest('{0,0.01,-0.01,0.5,-0.99,1234567.89,-92233720368547758.08,92233720368547758.07}'::numeric[])::money
UNION ALL SELECT (s * 10::numeric ^ k / 100)::money FROM generate_series(0, 18) k, (VALUES (1), (-1)) s(s)

--# text
SELECT chr(n) FROM generate_series(1, 160) n
UNION ALL SELECT 'a' || chr(n) || 'b' || chr(n) FROM generate_series(1, 127) n
UNION ALL SELECT string_agg(chr(c), '' ORDER BY c) FROM generate_series(1, 1114111) c
    WHERE c NOT BETWEEN 55296 AND 57343 GROUP BY c / 8192
UNION ALL SELECT unnest(ARRAY['', ' ', '  ', ' a', 'a ', E'\t', E'\n', E'\r\n', '\N', '\\N', '\', '\\', '\\\', '"', '""', '''',
    'null', 'NULL', 'Null', 'nil', 'true', '0', '-0', '1e5', 'NaN', '{}', '[]', '{"a": 1}', '[1,2]', '"quoted"', '\u0000',
    '\x00', '\"', '\/', '\b\f\n\r\t', E'\b\f\n\r\t\v', '%s', '%00', '%', '&amp;', '<a>', '--', ';', '`', '$1', '$$', ',', '|',
    E'\x01', E'\x1f', E'\x7f', U&'\0080', U&'\2028', U&'\2029', U&'\FEFF', U&'\FEFFbom', U&'\FFFD', U&'\FFFE', U&'\FFFF',
    U&'\+01F600', U&'\+10FFFF', U&'e\0301', U&'\00E9', U&'\200D', U&'\202Eabc', U&'\05D0\05D1', U&'\0627\0628',
    U&'\+01F468\200D\+01F469\200D\+01F467', '__op', 'sluice_is_deleted', E'line 1\nline 2', E'tab\tand\\t', '💩💩💩',
    repeat(U&'\+01F600', 1000), repeat('\"', 5000), repeat('a', 8191), repeat('a', 8192), repeat('x', 65535), repeat('x', 65536),
    repeat(E'\n', 100000), repeat('y', 1048576), repeat('é', 524288), repeat(E'\x01', 1000)])

--# varchar
VALUES ('unbounded'), (''), ('\N'), (repeat('long ', 1000))

--# varchar(5)
VALUES ('😀😀😀😀😀'), (''), ('     '), ('abcde'), ('\N'), (E'\n\t"\\'), ('é'), ('null')

--# varchar(300)
SELECT repeat(c, n) FROM unnest(ARRAY['a', 'é', '€', '😀', '"', '\']) c, unnest('{1,63,64,255,256,299,300}'::int[]) n

--# char(6)
VALUES ('ab'), (''), ('abcdef'), ('  a'), ('é'), ('😀😀😀😀😀😀'), ('\N'), (E'\n')

--# char(1)
SELECT chr(n) FROM generate_series(33, 126, 3) n

--# name
VALUES (''), ('a "name"'), (repeat('n', 63)), (repeat('é', 31)), ('\N'), ('SELECT')

--# "char"
SELECT n::"char" FROM generate_series(0, 127) n

--# "char" since 15
SELECT (n - 256)::"char" FROM generate_series(128, 255) n

--# ext.citext needs citext
VALUES ('CaSe'), (''), ('STRASSE'), ('straße'), ('İ'), ('\N')

--# ext.ltree needs ltree
VALUES ('Top'), ('Top.Science'), ('Top.Science.Astronomy.Stars'), ('a.b.c.d.e.f.g'), ('')

--# mood
VALUES ('sad'), ('so so'), ('it''s "fine"'), ('a,b'), ('\N'), ('NULL'), ('{}'), ('größe😀')

--# bytea
SELECT decode(lpad(to_hex(n), 2, '0'), 'hex') FROM generate_series(0, 255) n
UNION ALL SELECT string_agg(decode(lpad(to_hex(n), 2, '0'), 'hex'), '' ORDER BY n) FROM generate_series(0, 255) n
UNION ALL VALUES (''::bytea), ('\x5c78'), ('\x5c5c'), ('\x5c783030'), ('\x22275c'), ('\xc328'), ('\xefbbbf'), ('\xff00ff00')
UNION ALL SELECT decode(repeat('ab', n), 'hex') FROM unnest('{31,32,33,63,64,1000,65536,524287}'::int[]) n

--# date
SELECT date '0001-01-01' + n * 45673 FROM generate_series(0, 79) n
UNION ALL SELECT (y || '-' || d)::date FROM unnest('{0004,0100,1000,1582,1600,1752,1900,1970,2000,2024,2038,9996}'::text[]) y,
    unnest('{01-01,02-28,03-01,10-10,12-31}'::text[]) d
UNION ALL VALUES (date '9999-12-31'), ('2000-02-29'), ('2024-02-29'), ('1970-01-01'), ('1969-12-31'), ('9999-01-01')

--# timestamp
SELECT timestamp '0001-01-01 00:00:00' + n * interval '45671 days 11 hours 7 minutes 13.000301 seconds' FROM generate_series(0, 79) n
UNION ALL SELECT timestamp '2024-02-29 23:59:59' + n * interval '1 microsecond'
    FROM unnest('{0,1,9,10,100,999,1000,10000,100000,120000,123456,500000,999990,999999}'::int[]) n
UNION ALL VALUES (timestamp '9999-12-31 23:59:59.999999'), ('0001-01-01 00:00:00.000001'), ('1970-01-01 00:00:00'),
    ('1969-12-31 23:59:59.999999'), ('2038-01-19 03:14:08'), ('2016-12-31 23:59:60'), ('2024-06-30 24:00:00'), ('1582-10-10 12:00')

--# timestamp(3)
VALUES (timestamp '2024-01-01 00:00:00.1235'), ('2024-01-01 00:00:00.9996'), ('2024-01-01 00:00:00')

--# timestamptz
SELECT ('2024-03-05 04:05:06.7' || s || lpad(h::text, 2, '0') || m)::timestamptz
    FROM generate_series(0, 15) h, (VALUES ('+'), ('-')) s(s), (VALUES (''), (':30'), (':59')) m(m)
UNION ALL SELECT (d || ' ' || z)::timestamptz FROM unnest(ARRAY['2024-03-31 02:30:00', '2024-10-27 02:30:00', '1850-01-01 00:00:00',
    '2024-07-01 12:00:00.123456', '1970-01-01 00:00:00']) d, unnest(ARRAY['UTC', 'Europe/Amsterdam', 'America/New_York',
    'Asia/Kolkata', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'Pacific/Kiritimati', 'Africa/Monrovia']) z
UNION ALL VALUES (timestamptz '9999-12-31 23:59:59.999999+00'), ('0001-01-01 00:00:00+00'), ('0001-01-01 12:00:00+11:59'),
    ('9999-12-31 12:00:00-11:59')

--# time
SELECT time '00:00:00' + n * interval '1 hour 1 minute 1.000101 seconds' FROM generate_series(0, 23) n
UNION ALL VALUES (time '24:00:00'), ('23:59:59.999999'), ('00:00:00.000001'), ('12:00:00.5'), ('12:00:00.123450')

--# timetz
SELECT ('04:05:06.7' || s || lpad(h::text, 2, '0') || m)::timetz
    FROM generate_series(0, 15) h, (VALUES ('+'), ('-')) s(s), (VALUES (''), (':30'), (':59:59')) m(m)
UNION ALL VALUES (timetz '24:00:00-15:59'), ('00:00:00+00'), ('23:59:59.999999+15:59:59')

--# interval
SELECT make_interval(years => s * (n % 7), months => n % 13, days => s * (n * 37 % 400), secs => s * n * 3661.000001)
    FROM generate_series(0, 30) n, (VALUES (1), (-1)) s(s)
UNION ALL VALUES (interval '-178000000 years'), ('178000000 years'), ('2147483647 days'), ('-2147483648 days'), ('0'),
    ('-00:00:00.000001'), ('1 year 2 mons -3 days 04:05:06.7'), ('-1 year 2 mons -3 days 04:05:06.7'),
    ('1 mon -1 day'), ('-1 day 23:00'), ('24 hours'), ('1 day')

--# interval since 15
VALUES (interval '2562047788:00:54'), ('-2562047788:00:54')

--# interval since 17
VALUES (interval 'infinity'), ('-infinity')

--# uuid
SELECT md5(n::text)::uuid FROM generate_series(1, 10) n
UNION ALL VALUES (uuid '00000000-0000-0000-0000-000000000000'), ('ffffffff-ffff-ffff-ffff-ffffffffffff'), ('{A0EEBC999C0B4EF8BB6D6BB9BD380A11}')

--# json
SELECT to_json(chr(n)) FROM generate_series(1, 127) n
UNION ALL SELECT d::json FROM unnest(ARRAY['{}', '[]', '""', '"\u0001\u001f\u007f\u2028"', '"\ud83d\ude00"', '"\/\b\f\n\r\t\"\\"',
    '{"a": {"a": {"a": [[[]]]}}}', ' { "b" : 1 , "a" : [ true , false , null ] } ', '{"": ""}', '{"a": 1, "a": 2}', '"😀"',
    '{"\u00e9": "é", "k\"ey": 1, "k\\ey": 2}', '1', '-1', '0', '-0', '0.0', '1.50', '1e2', '1E+2', '1e-7', '-1.5e300', '1e23',
    '9007199254740993', '9223372036854775807', '-9223372036854775808', '18446744073709551615', '5e-324', '1.7976931348623157e308',
    '0.1', '0.30000000000000004', 'true', 'false', '"true"', '"null"', '"1"', '[null]', '{"a": null}', '"\\u0000"', '"\\N"',
    E'[\n\t1,\r\n2 ]', '{"__op": 1, "sluice_is_deleted": true}']) d
UNION ALL SELECT (repeat('[', n) || repeat(']', n))::json FROM unnest('{2,10,100,500,999,1000}'::int[]) n
UNION ALL SELECT json_object_agg('key ' || n, repeat('v', n)) FROM generate_series(1, 1000) n
UNION ALL SELECT ('"' || repeat('x', 300000) || '"')::json

--# jsonb
SELECT to_jsonb(chr(n)) FROM generate_series(1, 127) n
UNION ALL SELECT to_jsonb(string_agg(chr(c), '' ORDER BY c)) FROM generate_series(1, 1114111) c
    WHERE c NOT BETWEEN 55296 AND 57343 GROUP BY c / 65536
UNION ALL SELECT to_jsonb(s * 2::float8 ^ k) FROM generate_series(-1000, 1000, 41) k, (VALUES (1), (-1)) s(s)
UNION ALL SELECT to_jsonb(n::float8 / 7 * 10::float8 ^ (n * 10 - 300)) FROM generate_series(1, 59) n
UNION ALL SELECT to_jsonb(gen.around(-9223372036854775808, 18446744073709551615))
UNION ALL SELECT d::jsonb FROM unnest(ARRAY['{}', '[]', '""', '{"b": 1, "a": [true, false, null]}', '{"a": 1, "a": 2}', '-0', '0.0', '1.50',
    '1.500e3', '1e300', '"\u00e9\ud83d\ude00"', 'true', '"\\"', '[[], {}, [[]], {"": {}}]', '{"z": {"y": {"x": [1, [2, [3]]]}}}']) d
UNION ALL SELECT jsonb_agg(n ORDER BY n) FROM generate_series(1, 5000) n

--# xml
VALUES ('<a b="c">&amp;</a>'), ('<a/>'), ('text &lt; only'), ('<a><![CDATA[ ]] > ]]></a>'), ('<é>😀</é>'), ('')

--# bit(1)
VALUES (B'0'), (B'1')

--# bit(12)
SELECT (n * 37)::bit(12) FROM generate_series(0, 20) n

--# bit varying(12)
SELECT substring((n * 37)::bit(12)::varbit FROM 1 FOR n) FROM generate_series(0, 12) n

--# bit varying
SELECT repeat('10', n)::varbit FROM unnest('{0,1,7,8,9,64,500,5000}'::int[]) n

--# inet
SELECT set_masklen(inet '192.168.255.129', n) FROM generate_series(0, 32) n
UNION ALL SELECT set_masklen(inet '2001:db8:85a3::8a2e:370:7334', n) FROM generate_series(0, 128, 8) n
UNION ALL VALUES (inet '::'), ('::1'), ('::ffff:255.255.255.255'), ('0.0.0.0/0'), ('2001:db8:1234:5678:1234:5678:1234:5678/127')

--# cidr
SELECT network(set_masklen(inet '192.168.255.129', n)) FROM generate_series(0, 32, 4) n
UNION ALL SELECT network(set_masklen(inet '2001:db8:85a3::8a2e:370:7334', n)) FROM generate_series(0, 128, 32) n

--# macaddr
VALUES ('08:00:2b:01:02:03'), ('00:00:00:00:00:00'), ('ff:ff:ff:ff:ff:ff')

--# macaddr8
VALUES ('08:00:2b:01:02:03:04:05'), ('00:00:00:00:00:00:00:00'), ('ff:ff:ff:ff:ff:ff:ff:ff')

--# pg_lsn
VALUES ('0/0'), ('0/1'), ('FFFFFFFF/FFFFFFFF'), ('16/B374D848'), ('1/0')

--# pg_snapshot
VALUES ('10:20:10,14,15'), ('1:1:')

--# tid
VALUES ('(0,0)'), ('(4294967295,65535)'), ('(1,2)')

--# regclass
VALUES ('pg_class'::regclass), (0::oid::regclass), ('shop.cases')

--# regtype
VALUES ('integer'), ('timestamp with time zone'), ('text[]')

--# int4range
SELECT int4range(a, b, k) FROM (VALUES (1, 10), (-2147483648, 2147483646), (NULL, 5), (5, NULL), (NULL, NULL), (3, 3)) v(a, b),
    unnest('{[),(],(),[]}'::text[]) k

--# int8range
VALUES ('[-9223372036854775808,9223372036854775807)'), ('empty'), ('(,)'), ('[1,2)')

--# numrange
SELECT numrange(a, b, k) FROM (VALUES (1.10, 2.200), (-1e40, 1e-40), (NULL, 0.0), ('-Infinity', 'Infinity')) v(a, b),
    unnest('{[),(],(),[]}'::text[]) k

--# daterange
VALUES ('[2024-01-01,2024-02-01)'), ('[0044-03-15 BC,infinity]'), ('empty'), ('(,2024-01-01)'), ('[-infinity,infinity)')

--# tsrange
VALUES ('["2024-01-01 00:00:00.5","2024-02-01 12:00:00"]'), ('[0044-03-15 BC,infinity]'), ('(,)')

--# tstzrange
VALUES ('[2024-01-01 00:00:00+02,)'), ('["2024-03-31 02:30:00 Europe/Amsterdam",infinity)'), ('empty')

--# span
VALUES ('[1.5,2.5]'), ('(-Infinity,NaN]'), ('empty'), ('[-0,5e-324]')

--# int4multirange
VALUES ('{}'), ('{[1,3),[5,7)}'), ('{(,1),(5,)}'), ('{(,)}')

--# nummultirange
VALUES ('{}'), ('{[1.10,2.20],(3,4.0)}')

--# tstzmultirange
VALUES ('{["2024-01-01 00:00:00+02","2024-02-01 00:00:00-05"],[2025-01-01,infinity)}'), ('{}')

--# datemultirange
VALUES ('{[2024-01-01,2024-02-01),[2025-01-01,)}')

--# point
SELECT point(a, b) FROM unnest('{0,-0,1.5,NaN,Infinity,-Infinity,5e-324,1e300,0.1}'::float8[]) a, unnest('{0,-2,NaN,1e-300}'::float8[]) b

--# line
VALUES ('{1,-1,0}'), ('{0,1,2.5}'), ('{-1e300,1e-300,0.1}')

--# lseg
VALUES ('[(0,0),(1,1)]'), ('[(-1.5,1e300),(0.1,-0)]')

--# box
VALUES ('(1,1),(0,0)'), ('(Infinity,1e300),(-Infinity,0.1)')

--# path
VALUES ('[(0,0),(1,1)]'), ('((0,0),(1,1),(2,0))'), ('((0.1,-1e-300))')

--# polygon
VALUES ('((0,0),(1,1),(1,0))'), ('((0,0))')

--# circle
VALUES ('<(1,2),3>'), ('<(0.1,-1e300),0>'), ('<(NaN,Infinity),NaN>')

--# tsvector
VALUES ('a:1 fat:2 ''it''''s'':3A,4B'), (''), ('''\\'' ''"'''), ('é 😀')

--# tsquery
VALUES ('fat & !rat'), ('a <-> b | (c & d:*A)'), ('''it''''s''')

--# jsonpath
VALUES ('$.a[*] ? (@.b > 1)'), ('strict $."key with \"quotes\""')

--# place
VALUES ('(1,"a \"b\",c")'), ('(,)'), ('(-5,"")'), ('(0,"\\N")'), (ROW(7, E'line\nbreak')::place), (ROW(8, '(x)')::place)

--# nested_place
VALUES (ROW(ROW(1, 'a "b" \ c')::place, ARRAY[ROW(2, 'x,y')::place, NULL], '{NULL,"NULL"}')::nested_place), (ROW(NULL, '{}', '{}')::nested_place)

--# price
VALUES (0), (12.34), (99999999.99), (0.1)

--# net_price
VALUES (12.34), (0)

--# label
VALUES ('a line'), (''), ('\N'), (repeat('😀', 30))

--# prices
VALUES ('{1.500,0,NULL}'), ('{}'), ('{{1.1},{2.2}}')

--# ext.hstore needs hstore
VALUES (''), ('a=>1'), ('a=>1, "b \"c\""=>NULL, d=>"NULL"'), ('""=>""'), ('"=>"=>", "'), ('"\\N"=>"\\", "é"=>"😀", "{}"=>"[1]"'),
    (E'"k\n"=>"v\t"'), ('A=>1, a=>2, "1"=>"1e400"')

--# boolean[]
VALUES ('{t,f,NULL}'), ('{}'), ('{{t},{f}}')

--# smallint[]
VALUES ('{-32768,32767,NULL,0}')

--# integer[]
VALUES ('{1,NULL,-2147483648}'), ('{}'), ('{NULL}'), ('{{1,2},{3,4}}'), ('{{{1}},{{NULL}}}'), ('{{{{{{1,2}}}}}}'), ('{0}')
UNION ALL SELECT array_agg(n)::text FROM generate_series(1, 3000) n

--# bigint[]
SELECT array_agg(v) FROM gen.around(-9223372036854775808, 9223372036854775807) v

--# oid[]
VALUES ('{0,4294967295}')

--# real[]
VALUES ('{NaN,-Infinity,Infinity,0.1,-0,1e-45,3.4028235e+38,16777216,NULL}'), ('{{1.5},{-2}}')

--# double precision[]
VALUES ('{NaN,-Infinity,0.1,1e300,5e-324,-0,1e22,9007199254740993,NULL}'), ('{}')
UNION ALL SELECT array_agg(2::float8 ^ k)::text FROM generate_series(-1074, 1023, 29) k

--# numeric[]
VALUES ('{1.50,NaN,12345678901234567890.12345,18446744073709551615,18446744073709551616,-0.001,Infinity,1e-400,1e400,0.00}'),
    ('{{0.1},{NULL}}'), ('{123456789012345.6,1234567890123456.7,0.000001,0.0000001,-9223372036854775809}')

--# numeric(10,2)[]
VALUES ('{1.50,NaN,-99999999.99,0}')

--# text[]
SELECT ARRAY[chr(n), 'a' || chr(n), NULL] FROM generate_series(1, 160) n
UNION ALL SELECT unnest(ARRAY['{"a b","",NULL,"NULL","a\"b\\c","{x,y}","é😀",null}', '{{"a,b"},{c}}', '{}', '{""}', '{"\\N","\\","\""}',
    '{{{"{","}"}}}', '{" "," a"}'])::text[]
UNION ALL SELECT array_agg(repeat('é', n)) FROM generate_series(0, 300) n

--# varchar(5)[]
VALUES ('{abc,"",NULL}')

--# char(3)[]
VALUES ('{a,abc,NULL}')

--# mood[]
VALUES ('{sad,"so so","a,b","\\N","NULL"}')

--# place[]
VALUES ('{"(1,\"a b\")",NULL,"(,)"}')

--# net_price[]
VALUES ('{1.25,NULL}')

--# date[]
VALUES ('{2024-01-01,infinity,"0044-03-15 BC",294276-12-31,NULL}')

--# timestamp[]
VALUES ('{"2024-01-01 00:00:00.5",-infinity}')

--# timestamptz[]
VALUES ('{2024-01-01 00:00:00+02,NULL,"294276-12-31 23:59:59.999999+00"}')

--# time[]
VALUES ('{24:00:00,00:00:00.000001}')

--# interval[]
VALUES ('{"1 day","-00:00:01",NULL}')

--# uuid[]
VALUES ('{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}')

--# bytea[]
VALUES ('{"\\x00ff","\\x",NULL}')

--# json[]
VALUES ('{"{\"a\": 1}",NULL,"[]","\"s\"","null","1.50"}')

--# jsonb[]
VALUES ('{"{\"a\": [1, \"x\"]}",NULL,"\"s\"","2","null"}'), ('{{"1"},{"true"}}')

--# money[]
VALUES ('{1,-1234.5}')

--# bit(3)[]
VALUES ('{101,000}')

--# inet[]
VALUES ('{10.0.0.1,::1/64,NULL}')

--# int4range[]
VALUES ('{"[1,10)",empty,NULL}')

--# point[]
VALUES ('{"(1,2)","(NaN,-0)"}')

--# box[]
VALUES ('{(1,1),(0,0);(3,3),(2,2)}'), ('{}')

--# ext.citext[] needs citext
VALUES ('{CaSe,NULL,""}')

--# ext.hstore[] needs hstore
VALUES ('{"\"a\"=>\"1\"",NULL,"\"b\"=>NULL"}')
