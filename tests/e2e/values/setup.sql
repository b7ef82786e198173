-- What the cases need besides the types that every server has. Extensions are made in `ext` where they can be.
CREATE SCHEMA gen;
CREATE TYPE mood AS ENUM ('sad', 'so so', 'it''s "fine"', 'a,b', '\N', 'NULL', '{}', 'größe😀');
CREATE TYPE place AS (x integer, name text);
CREATE TYPE nested_place AS (p place, others place[], words text[]);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE DOMAIN price AS numeric(10, 2) CHECK (value >= 0);
CREATE DOMAIN net_price AS price;
CREATE DOMAIN prices AS numeric(12, 3)[];
CREATE DOMAIN label AS varchar(30);
CREATE FUNCTION gen.around(low numeric, high numeric) RETURNS SETOF numeric LANGUAGE sql AS $$
    SELECT DISTINCT v FROM (
        SELECT low UNION ALL SELECT high UNION ALL SELECT 0
        UNION ALL SELECT s * trunc(2::numeric ^ k) + d
            FROM generate_series(0, 64) k, (VALUES (1), (-1)) s(s), generate_series(-1, 1) d WHERE k % 8 = 0 OR k % 8 = 7
        UNION ALL SELECT s * trunc(10::numeric ^ k) + d
            FROM generate_series(0, 19) k, (VALUES (1), (-1)) s(s), generate_series(-1, 0) d
    ) u(v) WHERE v BETWEEN low AND high $$;
