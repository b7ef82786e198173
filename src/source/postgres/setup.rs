//! Checks everything the stream needs, and makes what is missing.
//!
//! In: the options and two ordinary connections. Out: [`Prepared`], or every finding. Always: idempotent; nothing is
//! made while anything is wrong; the publication comes before the slot, because a change older than the publication
//! cannot be decoded; nothing that exists is dropped. What may be written to the source is all here and in what it
//! calls: schema and tables of our own state, replica identities (if asked to), the publication, the slot.
//! Not here: the single checks. Start at [`run`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use tokio_postgres::Client;

use super::catalog::{self, quoted};
use super::checkpoints::{self, Access, Lineage, PgCheckpoints};
use super::locked::{self, Change};
use super::preflight::{self, Server};
use super::publication::{self, Fingerprint, Plan, Publication};
use super::resume::{self, Facts, Incarnation, Start};
use super::selection::{self, Selected, Selection};
use super::slot::{self, Slot};
use super::sqlstate::query_reason;
use super::watcher::Watch;
use super::{KnownTable, Options, Tables};
use crate::checkpoint::Checkpoint;
use crate::model::{Lsn, Reason, TableName, TableSchema};
use crate::source::Ready;

/// Everything that setup looks at.
#[derive(Clone, Debug)]
pub(super) struct Inspection {
    pub(super) server: Server,
    pub(super) selection: Selection,
    pub(super) publication: Option<Publication>,
    pub(super) slot: Option<Slot>,
    pub(super) access: Access,
    /// What is stored, or why it cannot be read.
    pub(super) checkpoint: Result<Option<Checkpoint>, Reason>,
    /// What this process streamed from before.
    pub(super) before: Option<Lineage>,
}

/// What setup made ready.
#[derive(Debug)]
pub(super) struct Prepared {
    /// For the engine.
    pub(super) ready: Ready,
    /// For the decoder.
    pub(super) tables: Tables,
    /// For the watcher.
    pub(super) watch: Watch,
}

/// Reads everything; writes nothing. `before` is what this process streamed from before.
///
/// # Errors
/// If the server cannot be asked.
pub(super) async fn inspect(client: &Client, options: &Options, before: Option<Lineage>) -> Result<Inspection, Reason> {
    let version = preflight::version(client).await?;
    // Another process may be moving this pipeline on meanwhile. Its slot never passes its checkpoint, nor that the end
    // of the WAL; read in this order, they do not seem to either.
    let slot = slot::inspect(client, version, &options.slot).await?;
    let own_schema = &options.checkpoint_schema;
    let access = checkpoints::access(client, own_schema).await?;
    let checkpoint =
        if access.table_exists && access.readable() { checkpoints::stored(client, options).await } else { Ok(None) };
    let server = preflight::inspect(client).await?;
    let read = async {
        let relations = catalog::matching(client, &options.tables).await?;
        let mode = options.replica_identity;
        let selection = selection::select(&options.tables, &relations, own_schema, &server.role, mode);
        let ids: Vec<u32> = selection.names().into_keys().collect();
        Ok((publication::inspect(client, version, &options.publication, &ids).await?, selection))
    };
    let (publication, selection) = catalog::at_one_moment(client, read).await?;
    Ok(Inspection { server, selection, publication, slot, access, checkpoint, before })
}

impl Inspection {
    fn stored(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref().ok().and_then(Option::as_ref)
    }

    /// The tables as the stream will tell of them, as far as they can be used.
    pub(super) fn schemas(&self) -> Vec<Arc<TableSchema>> {
        let known = self.selection.tables.iter().map(|selected| selection::known(selected, self.columns(selected)));
        known.filter_map(Result::ok).map(|table| table.schema).collect()
    }

    /// The tables whose rows are yet to be copied, if rows are.
    fn to_copy(&self) -> impl Iterator<Item = &Selected> {
        let none = Fingerprint::default();
        let fingerprint = self.publication.as_ref().map_or(&none, |publication| &publication.fingerprint);
        let new = new_tables(self.stored(), fingerprint, &self.selection.names());
        let incomplete = self.stored().map(|checkpoint| checkpoint.incomplete_tables.clone()).unwrap_or_default();
        let tables = self.selection.tables.iter();
        tables.filter(move |table| new.contains(&table.relation.id) || incomplete.contains(&table.relation.id))
    }

    fn plan(&self, options: &Options) -> Plan {
        Plan::new(self.publication.as_ref(), &self.selection.tables, &options.pipeline)
    }

    /// Lets `use_facts` look at what a position rests on.
    fn with_facts<T>(&self, options: &Options, use_facts: impl FnOnce(&Facts<'_>) -> T) -> T {
        let none = Fingerprint::default();
        use_facts(&Facts {
            pipeline: &options.pipeline,
            checkpoint_schema: &options.checkpoint_schema,
            slot_name: &options.slot,
            publication_name: &options.publication,
            system_id: &self.server.system_id,
            timeline: self.server.timeline,
            streamed: self.before.as_ref().map(|before| (before.system_id.as_str(), before.timeline)),
            flushed: self.server.flushed,
            slot: self.slot.as_ref(),
            fingerprint: self.publication.as_ref().map_or(&none, |publication| &publication.fingerprint),
            tables: &self.selection.names(),
        })
    }

    fn start(&self, options: &Options) -> Result<Start, Vec<Reason>> {
        let checkpoint = self.checkpoint.as_ref().map_err(|reason| vec![reason.clone()])?;
        self.with_facts(options, |facts| resume::decide(facts, checkpoint.as_ref()))
    }

    /// The tables as the stream will tell of them.
    fn known(&self) -> Result<Vec<KnownTable>, Vec<Reason>> {
        let (mut tables, mut findings) = (Vec::new(), Vec::new());
        for selected in &self.selection.tables {
            match selection::known(selected, self.columns(selected)) {
                Ok(table) => tables.push(table),
                Err(reason) => findings.push(reason),
            }
        }
        if findings.is_empty() { Ok(tables) } else { Err(findings) }
    }

    /// The columns that the publication's column list leaves of a table.
    fn columns(&self, selected: &Selected) -> Option<&BTreeSet<String>> {
        self.publication.as_ref()?.members.get(&selected.relation.name)?.columns.as_ref()
    }
}

/// Why single tables cannot be copied. Their changes are replicated nevertheless, and the copy begins once it can.
pub(super) fn copy_findings(inspection: &Inspection, options: &Options) -> Vec<Reason> {
    let role = &inspection.server.role;
    let tables = inspection.to_copy().filter(|_| options.copying);
    tables.flat_map(|table| selection::copy_findings(&table.relation, role)).collect()
}

/// What would be copied, one sentence for each table that may hold rows.
fn copy_notes(inspection: &Inspection, options: &Options, refused: &[Reason]) -> Vec<String> {
    let note = |table: &Selected| {
        let relation = &table.relation;
        if refused.iter().any(|reason| reason.object == relation.name.to_string()) {
            return None;
        }
        let counted = relation.leaves.iter().map(|leaf| leaf.rows).chain([relation.rows]);
        let known: Vec<f32> = counted.filter(|rows| *rows >= 0.0).collect();
        let rows: f32 = known.iter().sum();
        let about = if known.is_empty() { "never counted".to_owned() } else { format!("about {rows:.0}") };
        Some(format!("existing rows of {} will be copied ({about})", relation.name))
    };
    inspection.to_copy().filter(|_| options.copying).filter_map(note).collect()
}

/// Everything that is wrong.
pub(super) fn findings(inspection: &Inspection, options: &Options) -> Vec<Reason> {
    let Inspection { server, selection, publication, slot, access, .. } = inspection;
    let active = slot.as_ref().is_some_and(|slot| slot.holder.is_some());
    let mut findings = preflight::findings(server, slot.is_some(), active);
    let (own_schema, may_create) = (&options.checkpoint_schema, server.may_create);
    findings.extend(checkpoints::finding(access, own_schema, &server.role, may_create, options.copying));
    findings.extend(selection.findings.iter().cloned());
    let name = &options.publication;
    match publication {
        Some(publication) => {
            let plan = inspection.plan(options);
            findings.extend(publication::findings(name, publication, &selection.tables, &plan));
        }
        None if slot.is_none() && !selection.tables.is_empty() => findings.extend(publication::may_create(
            name,
            &options.pipeline,
            &server.database,
            &server.role,
            server.may_create,
            &selection.tables,
        )),
        // With a slot, the missing publication is a matter of where to start.
        None => {}
    }
    findings.extend(inspection.known().err().into_iter().flatten());
    if let Some(slot) = slot {
        let start_anew = inspection.with_facts(options, |facts| facts.start_anew());
        findings.extend(slot::findings(&options.slot, slot, &server.database, &start_anew));
    }
    // Where to start is no question on a slot that is none for us, nor without sight of the checkpoint.
    let usable = !findings.iter().any(|reason| reason.code == "SLOT_UNUSABLE") && access.readable();
    findings.extend(usable.then(|| inspection.start(options).err()).flatten().into_iter().flatten());
    findings
}

/// Everything a person should know, of what is there already.
pub(super) fn notes(inspection: &Inspection, options: &Options) -> Vec<String> {
    let mut notes = preflight::notes(&inspection.server);
    notes.extend(inspection.selection.notes.iter().cloned());
    let tables = inspection.selection.tables.iter();
    notes.extend(tables.filter_map(|table| selection::unsent_generated(&table.relation, inspection.columns(table))));
    if let Some(publication) = &inspection.publication {
        let plan = inspection.plan(options);
        notes.extend(publication::notes(&options.publication, publication, &inspection.selection.tables, &plan));
    }
    notes
}

/// What `check` tells: everything that is wrong, and everything a person should know. That our own pipeline runs and
/// reads from its slot is how it should be, and hinders only a second one.
pub(super) fn report(inspection: &Inspection, options: &Options) -> (Vec<Reason>, Vec<String>) {
    let mut findings = findings(inspection, options);
    findings.extend(inspection.selection.refused.iter().cloned());
    let refused = copy_findings(inspection, options);
    let mut notes = notes(inspection, options);
    notes.extend(copy_notes(inspection, options, &refused));
    findings.extend(refused);
    let slot = inspection.slot.as_ref();
    if let Some(holder) = slot.and_then(|slot| slot.holder_named(&options.connect.application_name)) {
        findings.retain(|reason| reason.code != slot::IN_USE);
        notes
            .push(format!("pipeline {} is running: its slot {} is in use by {holder}", options.pipeline, options.slot));
    }
    (findings, notes)
}

/// Checks everything and makes what is missing. `observer` is a second connection of the same role.
///
/// # Errors
/// Every finding; nothing was made then, unless making itself failed.
pub(super) async fn run(
    worker: &Client,
    observer: &Client,
    options: &Options,
    checkpoints: &PgCheckpoints,
) -> Result<Prepared, Vec<Reason>> {
    let one = |reason| vec![reason];
    let inspection = inspect(worker, options, checkpoints.lineage()).await.map_err(one)?;
    let findings = findings(&inspection, options);
    if !findings.is_empty() {
        return Err(findings);
    }
    let mut notes = notes(&inspection, options);
    let start = inspection.start(options)?;
    let made = make(worker, observer, options, &inspection, start).await.map_err(one)?;
    notes.extend(made.notes);
    let lineage = made.lineage;
    let mut tables = inspection.known()?;
    checkpoints.identify(lineage.clone());
    let anew = inspection.before.as_ref().is_some_and(|before| !lineage.continues(before));
    for table in &mut tables {
        let complete = !lineage.incomplete_tables.contains(&table.schema.id.0);
        table.schema = Arc::new(TableSchema { complete, ..TableSchema::clone(&table.schema) });
    }
    let watch = Watch::new(options, inspection.server.version, &inspection.selection.tables, lineage.fingerprint);
    Ok(Prepared {
        ready: Ready {
            start: made.start,
            anew,
            tables: tables.iter().map(|table| table.schema.clone()).collect(),
            paused: inspection.stored().is_some_and(|checkpoint| checkpoint.paused),
            copy_paused: inspection.stored().is_some_and(|checkpoint| checkpoint.copy_paused),
            first: inspection.stored().is_none(),
            unseen: inspection.stored().map(|checkpoint| checkpoint.unseen.clone()).unwrap_or_default(),
            refused: inspection.selection.refused,
            notes,
        },
        tables: tables.into_iter().collect(),
        watch: watch.counting(checkpoints.decoded()),
    })
}

struct Made {
    start: Lsn,
    lineage: Lineage,
    /// What a person should know of the tables that are new.
    notes: Vec<String>,
}

async fn make(
    worker: &Client,
    observer: &Client,
    options: &Options,
    inspection: &Inspection,
    start: Start,
) -> Result<Made, Reason> {
    let schema = &options.checkpoint_schema;
    let sql = checkpoints::create_sql(&inspection.access, schema, options.copying);
    execute(worker, &sql, "making our own tables").await?;
    set_identities(worker, observer, &inspection.selection.tables).await?;
    make_publication(worker, observer, options, &inspection.plan(options)).await?;
    let version = inspection.server.version;
    let names = inspection.selection.names();
    let ids: Vec<u32> = names.keys().copied().collect();
    let fingerprint = publication::fingerprint(worker, version, &options.publication, &ids).await?;
    let (start, incarnation) = match start {
        Start::Resume { at, incarnation } => (at, incarnation),
        Start::Adopt(incarnation) => (incarnation.first, incarnation),
        Start::Create => {
            let first = slot::create(worker, observer, &options.slot, options.slot_create_timeout).await?;
            (first, Incarnation { first, decoded: 0 })
        }
    };
    let (slot, system_id) = (options.slot.clone(), inspection.server.system_id.clone());
    let timeline = inspection.server.timeline;
    let new_tables = new_tables(inspection.stored(), &fingerprint, &names);
    // After the slot: a row that is not there now, and was not deleted meanwhile, will be told of.
    let existing = existing_rows(worker, inspection, &new_tables).await?;
    let before = inspection.stored().map(|checkpoint| checkpoint.incomplete_tables.clone()).unwrap_or_default();
    let incomplete: BTreeSet<u32> = before.into_iter().chain(existing.keys().copied()).collect();
    let incomplete_tables = incomplete.into_iter().filter(|id| names.contains_key(id)).collect();
    let lineage = Lineage { slot, system_id, timeline, incarnation, fingerprint, incomplete_tables };
    let checkpoint = match inspection.stored() {
        Some(stored) => {
            let (copy_paused, unseen) = (stored.copy_paused, stored.unseen.clone());
            Checkpoint { copy_paused, unseen, ..checkpoints::resting_on(&lineage, start, stored.paused) }
        }
        None => checkpoints::resting_on(&lineage, start, false),
    };
    if inspection.stored() != Some(&checkpoint) {
        checkpoints::store(worker, options, &checkpoint).await?;
    }
    let notes = existing.into_values().filter(|_| !options.copying).collect();
    Ok(Made { start, lineage, notes })
}

/// Tables that the checkpoint, if there is one, knows nothing of.
fn new_tables(
    stored: Option<&Checkpoint>,
    fingerprint: &Fingerprint,
    names: &BTreeMap<u32, TableName>,
) -> BTreeSet<u32> {
    match stored.map(|checkpoint| checkpoint.publication_fingerprint.parse::<Fingerprint>()) {
        Some(Ok(older)) => fingerprint.added_since(&older),
        _ => names.keys().copied().collect(),
    }
}

async fn execute(client: &Client, sql: &str, doing: &str) -> Result<(), Reason> {
    if sql.is_empty() {
        return Ok(());
    }
    // One message, so one transaction: all of it or nothing.
    client.batch_execute(sql).await.map_err(|error| query_reason(&error, doing))
}

async fn set_identities(worker: &Client, observer: &Client, tables: &[Selected]) -> Result<(), Reason> {
    for name in tables.iter().flat_map(|table| &table.to_full) {
        let change = Change {
            sql: &format!("ALTER TABLE ONLY {} REPLICA IDENTITY FULL", quoted(name)),
            doing: "setting the replica identity",
            object: &name.to_string(),
            tables: std::slice::from_ref(name),
            against: locked::ALTER_TABLE,
        };
        locked::make(worker, observer, &change).await?;
    }
    Ok(())
}

async fn make_publication(worker: &Client, observer: &Client, options: &Options, plan: &Plan) -> Result<(), Reason> {
    let tables: Vec<TableName> = plan.add.iter().chain(&plan.remove).cloned().collect();
    let change = Change {
        sql: &plan.sql(&options.publication, &options.pipeline),
        doing: "choosing the tables",
        object: &options.publication,
        tables: &tables,
        against: locked::PUBLICATION,
    };
    locked::make(worker, observer, &change).await
}

/// The new tables that hold rows already, which are not copied, and what to say of each. Where the server has never
/// counted, looks for one row.
async fn existing_rows(
    client: &Client,
    inspection: &Inspection,
    new_tables: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, String>, Reason> {
    let mut notes = BTreeMap::new();
    for table in inspection.selection.tables.iter().filter(|table| new_tables.contains(&table.relation.id)) {
        let relation = &table.relation;
        let counted = relation.leaves.iter().map(|leaf| leaf.rows).chain([relation.rows]).map(|rows| rows.max(0.0));
        let mut about = String::new();
        match counted.sum::<f32>() {
            rows if rows >= 1.0 => _ = write!(about, "about {rows:.0} rows"),
            // Whether there are any cannot be seen.
            _ if relation.row_security || relation.leaves.iter().any(|leaf| leaf.row_security) => {
                about.push_str("rows, which row security may hide,");
            }
            _ => {
                let sql = format!("SELECT EXISTS (SELECT FROM {})", quoted(&relation.name));
                let row =
                    client.query_one(&sql, &[]).await.map_err(|error| query_reason(&error, "looking for rows"))?;
                if row.get(0) {
                    about.push_str("rows");
                }
            }
        }
        if !about.is_empty() {
            let note = format!(
                "table {} has {about} that exist already; they are not copied, only changes from now on",
                relation.name
            );
            notes.insert(relation.id, note);
        }
    }
    Ok(notes)
}
