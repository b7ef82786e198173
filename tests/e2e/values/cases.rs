//! The kinds of columns and their values, as `cases.sql` has them.

use super::equal::{Rule, rule};
use crate::world::World;

/// A type and its values, which stand in table `gen.c<at>` as `v`, numbered from 1 as `n`.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) at: usize,
    pub(super) ty: String,
    pub(super) rule: Rule,
    /// How many values there are.
    pub(super) count: i64,
}

const EXTENSIONS: [&str; 3] = ["citext", "hstore", "ltree"];

/// Makes what the cases need; every kind that this server has, with its values.
pub(super) async fn generate(world: &World) -> Vec<Kind> {
    world.sql("CREATE SCHEMA ext; SET search_path = shop, ext").await;
    let mut extensions = Vec::new();
    for name in EXTENSIONS {
        match world.client.batch_execute(&format!("CREATE EXTENSION {name} SCHEMA ext")).await {
            Ok(()) => extensions.push(name),
            Err(error) => println!("the values of {name} are not tried: {error:?}"),
        }
    }
    world.sql("CREATE TABLE shop.cases (id integer PRIMARY KEY)").await;
    world.sql(include_str!("setup.sql")).await;
    let version: i64 = world.text("SELECT current_setting('server_version_num')").await.parse().unwrap();
    let mut kinds = Vec::new();
    for section in include_str!("cases.sql").split("\n--# ").skip(1) {
        let (head, query) = section.split_once('\n').unwrap();
        let (head, needs) = head.split_once(" needs ").map_or((head, None), |(ty, name)| (ty, Some(name)));
        let (ty, since) = head.split_once(" since ").map_or((head, 14), |(ty, since)| (ty, since.parse().unwrap()));
        if version / 10_000 < since || needs.is_some_and(|name| !extensions.contains(&name)) {
            continue;
        }
        let at = kinds.len();
        let values = format!("SELECT q::{ty} FROM ({query}) u(q)");
        let distinct = format!("SELECT DISTINCT ON (format('%s', v) COLLATE \"C\") v FROM ({values}) w(v)");
        world
            .sql(&format!(
                "CREATE TABLE gen.c{at} (n bigint PRIMARY KEY, v {ty});
                 INSERT INTO gen.c{at} SELECT row_number() OVER (), v FROM ({distinct}) x"
            ))
            .await;
        let count = world.client.query_one(&format!("SELECT count(*) FROM gen.c{at}"), &[]).await.unwrap().get(0);
        kinds.push(Kind { at, ty: ty.to_owned(), rule: rule(ty), count });
    }
    kinds
}
