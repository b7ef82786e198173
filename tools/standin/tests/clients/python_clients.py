"""pymysql, and the starrocks dialect of SQLAlchemy: connect, create a table, read it back, reflect it."""

import datetime
import decimal
import os
import sys
import warnings

import pymysql
import sqlalchemy
from sqlalchemy import Column, MetaData, Table, create_engine, inspect, text
from sqlalchemy.engine import URL
import starrocks
from starrocks import ARRAY, BIGINT, DATETIME, DECIMAL, INTEGER, JSON, LARGEINT, STRING, VARCHAR

HOST = os.environ["SQL_HOST"]
PORT = int(os.environ["SQL_PORT"])
USER = os.environ["SQL_USER"]
PASSWORD = os.environ["SQL_PASSWORD"]
DATABASE = f"python_{os.getpid()}"


def check(name, wanted, found):
    """Stops at the first difference."""
    if wanted != found:
        sys.exit(f"{name}\nwanted: {wanted!r}\nfound:  {found!r}")
    print(name)


def with_pymysql():
    connection = pymysql.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, charset="utf8mb4")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    connection.select_db(DATABASE)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE typed (k INT, b BOOLEAN, n DECIMAL(38, 2), l LARGEINT, f DOUBLE, d DATE, ts DATETIME,"
            " s VARCHAR(20), j JSON, vb VARBINARY) PRIMARY KEY (k) DISTRIBUTED BY HASH(k)"
            ' PROPERTIES ("replication_num" = "1")'
        )
        cursor.execute(
            "INSERT INTO typed VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                1,
                True,
                decimal.Decimal("123456789012345678901234567890.12"),
                2**100,
                0.1,
                datetime.date(2024, 2, 29),
                datetime.datetime(2024, 2, 29, 1, 2, 3, 500000),
                "ä'\\ö",
                '{"a": [1, null]}',
                "raw",
            ),
        )
        check("pymysql: rows changed", 1, cursor.rowcount)
        cursor.execute("SELECT k, b, n, l, f, d, ts, s, vb FROM typed WHERE s = %s", ("ä'\\ö",))
        check(
            "pymysql: values have their types",
            (
                1,
                1,
                decimal.Decimal("123456789012345678901234567890.12"),
                str(2**100),
                0.1,
                datetime.date(2024, 2, 29),
                datetime.datetime(2024, 2, 29, 1, 2, 3, 500000),
                "ä'\\ö",
                b"raw",
            ),
            cursor.fetchone(),
        )
        cursor.execute("SELECT count(*), sum(n), avg(k), max(ts) FROM typed")
        check(
            "pymysql: aggregates have their types",
            (
                1,
                decimal.Decimal("123456789012345678901234567890.12"),
                1.0,
                datetime.datetime(2024, 2, 29, 1, 2, 3, 500000),
            ),
            cursor.fetchone(),
        )
        try:
            cursor.execute("SELECT * FROM missing")
            sys.exit("pymysql: a query of a missing table succeeded")
        except pymysql.err.Error as error:
            check("pymysql: error number", 5502, error.args[0])
    connection.commit()
    connection.ping(reconnect=False)
    connection.close()


def with_sqlalchemy():
    engine = create_engine(
        URL.create("starrocks", username=USER, password=PASSWORD, host=HOST, port=PORT, database=DATABASE)
    )
    table = Table(
        "made",
        MetaData(),
        Column("id", BIGINT, primary_key=True, autoincrement=False),
        Column("tenant", INTEGER, primary_key=True, autoincrement=False),
        Column("name", VARCHAR(100), comment="whose"),
        Column("price", DECIMAL(20, 4)),
        Column("big", LARGEINT),
        Column("doc", JSON),
        Column("tags", ARRAY(VARCHAR(10))),
        Column("seen", DATETIME),
        Column("note", STRING),
        comment="made by SQLAlchemy",
        starrocks_primary_key="id, tenant",
        starrocks_distributed_by="HASH(id) BUCKETS 3",
        starrocks_properties={"replication_num": "1"},
    )
    table.create(engine)
    inspector = inspect(engine)
    check("dialect: table names", ["made", "typed"], sorted(inspector.get_table_names()))
    check("dialect: has_table", (True, False), (inspector.has_table("made"), inspector.has_table("missing")))
    # An unknown type would only be a warning.
    with warnings.catch_warnings():
        warnings.simplefilter("error", sqlalchemy.exc.SAWarning)
        reflected = Table("made", MetaData(), autoload_with=engine)
    check(
        "dialect: reflected columns",
        [
            ("id", "BIGINT", False),
            ("tenant", "INTEGER", False),
            ("name", "VARCHAR", True),
            ("price", "DECIMAL", True),
            ("big", "LARGEINT", True),
            ("doc", "JSON", True),
            ("tags", "ARRAY", True),
            ("seen", "DATETIME", True),
            ("note", "VARCHAR", True),
        ],
        [(column.name, type(column.type).__name__, column.nullable) for column in reflected.columns],
    )
    check("dialect: reflected key", ["id", "tenant"], [column.name for column in reflected.primary_key])
    check("dialect: reflected comment", ("made by SQLAlchemy", "whose"), (reflected.comment, reflected.c.name.comment))
    options = reflected.dialect_options["starrocks"]
    check("dialect: reflected model", "id, tenant", options["primary_key"].replace("`", ""))
    check("dialect: reflected distribution", "HASH(id) BUCKETS 3", options["distributed_by"].replace("`", ""))
    with engine.begin() as connection:
        connection.execute(
            reflected.insert(), [{"id": 1, "tenant": 2, "name": "a", "price": decimal.Decimal("1.5")}]
        )
        connection.execute(text("ALTER TABLE made ADD COLUMN extra INT NULL"))
    with engine.connect() as connection:
        row = connection.execute(
            sqlalchemy.select(reflected.c.id, reflected.c.price).where(reflected.c.tenant == 2)
        ).one()
        check("dialect: row", (1, decimal.Decimal("1.5000")), tuple(row))
        connection.execute(text(f"DROP DATABASE {DATABASE} FORCE"))
    print("dialect version", starrocks.__version__, "SQLAlchemy", sqlalchemy.__version__)


with_pymysql()
with_sqlalchemy()
