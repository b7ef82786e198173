//! Logins at real servers, and at impostors.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SignatureAlgorithm,
};
use rig::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

use super::super::client::connect_sql;
use super::super::replication::ReplicationConnection;
use super::super::wire::Socket;
use super::*;
use crate::model::Lsn;

/// Reads a connection string with an empty environment.
fn options(url: &str) -> ConnectOptions {
    ConnectOptions::parse(url, &|_| None).unwrap_or_else(|problems| panic!("{url}: {problems:?}")).for_pipeline("p")
}

/// What a login came to: `plain` or `tls`, or the reason's code and message.
async fn outcome(options: &ConnectOptions) -> String {
    match ReplicationConnection::connect(options).await {
        Err(reason) => {
            assert!(!format!("{reason:?}").contains("canary"), "{reason:?}");
            reason.to_string()
        }
        Ok(mut connection) => {
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            let rows = connection.simple_query(sql).await.unwrap();
            let tls = rows[0][0].as_deref() == Some("t");
            let (client, _driver) = match connect_sql(options, "x").await {
                Ok(connected) => connected,
                Err(reason) => return reason.to_string(),
            };
            let also: bool = client.query_one(sql, &[]).await.unwrap().get(0);
            assert_eq!(also, tls, "both kinds of connection are as safe as each other");
            if tls { "tls".to_owned() } else { "plain".to_owned() }
        }
    }
}

async fn check(url: &str, want: &str) {
    let got = outcome(&options(url)).await;
    let fits = want.split('*').all(|part| got.contains(part));
    assert!(fits, "{url}: {got}; wanted {want}");
}

/// Writes a file into the server's data folder, readable by the server only.
fn write(cluster: &Cluster, name: &str, text: &str) -> PathBuf {
    let path = cluster.data().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let owner = fs::metadata(cluster.data()).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    path
}

/// A server with these lines in pg_hba.conf, before them one that lets the superuser in by the unix socket.
async fn server(hba: &str, setup: &str) -> Cluster {
    let cluster = Cluster::start(&[]).unwrap();
    cluster.client().await.unwrap().batch_execute(setup).await.unwrap();
    write(&cluster, "pg_hba.conf", &format!("local all postgres trust\nlocal replication postgres trust\n{hba}\n"));
    cluster.down("fast", 30).unwrap();
    cluster.up().unwrap();
    cluster
}

const ROLES: &str = "
    CREATE ROLE trusted LOGIN REPLICATION;
    SET password_encryption = 'md5';
    CREATE ROLE md5 LOGIN REPLICATION PASSWORD 'canary';
    CREATE ROLE plain LOGIN REPLICATION PASSWORD 'canary';
    SET password_encryption = 'scram-sha-256';
    CREATE ROLE scram LOGIN REPLICATION PASSWORD 'canary';
    CREATE ROLE \"per:cent@\" LOGIN REPLICATION PASSWORD 'canary:@/%';
    CREATE ROLE nobody LOGIN REPLICATION;
    CREATE ROLE limited LOGIN REPLICATION CONNECTION LIMIT 0;
    CREATE ROLE plainuser LOGIN;
    CREATE ROLE certified LOGIN REPLICATION;
    CREATE ROLE tlsonly LOGIN REPLICATION PASSWORD 'canary';
    CREATE ROLE plainonly LOGIN REPLICATION;";

#[tokio::test]
async fn every_method_and_every_refusal() {
    let hba = "host all trusted,limited,plainuser 127.0.0.1/32 trust
        host all md5 127.0.0.1/32 md5
        host all scram,\"per:cent@\" 127.0.0.1/32 scram-sha-256
        host all plain 127.0.0.1/32 password
        local all scram scram-sha-256";
    let cluster = server(hba, ROLES).await;
    let port = cluster.port();
    let socket = cluster.socket_folder().to_str().unwrap().replace('/', "%2F");
    let rows = [
        ("trusted", "postgres", "plain"),
        ("md5:canary", "postgres", "plain"),
        ("scram:canary", "postgres", "plain"),
        ("per%3Acent%40:canary%3A%40%2F%25", "postgres", "plain"),
        // Over loopback a password in clear text is nobody else's to read.
        ("plain:canary", "postgres", "plain"),
        ("scram:canary", "postgres?sslmode=require", "SOURCE_TLS*the server does not offer it"),
        ("scram:canary", "postgres?sslmode=verify-full", "SOURCE_TLS*the server does not offer it"),
        ("scram:canary", "postgres?channel_binding=require", "SOURCE_AUTH*the connection has no TLS"),
        ("trusted", "postgres?channel_binding=require", "SOURCE_AUTH*the connection has no TLS"),
        ("plain:canary", "postgres?channel_binding=require", "SOURCE_AUTH*the connection has no TLS"),
        ("scram:canary-wrong", "postgres", "SOURCE_AUTH*28P01"),
        ("md5:canary-wrong", "postgres", "SOURCE_AUTH*28P01"),
        ("plain:canary-wrong", "postgres", "SOURCE_AUTH*28P01"),
        ("scram", "postgres", "SOURCE_AUTH*the server asks for a password, and none is given"),
        ("nobody", "postgres", "SOURCE_AUTH*28000"),
        ("trusted", "nowhere", "SOURCE_DATABASE_MISSING*3D000"),
        ("limited", "postgres", "SOURCE_LIMIT*53300"),
        ("plainuser", "postgres", "SOURCE_AUTH*42501"),
        ("trusted", "postgres?target_session_attrs=read-write", "plain"),
    ];
    for (user, rest, want) in rows {
        check(&format!("postgres://{user}@127.0.0.1:{port}/{rest}"), want).await;
    }
    check(&format!("postgres://scram:canary@{socket}:{port}/postgres"), "plain").await;
    check(&format!("postgres://scram:canary-wrong@{socket}:{port}/postgres"), "SOURCE_AUTH").await;
    // The next host is tried if one cannot be reached, and not if one says no.
    let dead = rig::free_port().unwrap();
    check(&format!("postgres://trusted@127.0.0.1:{dead},127.0.0.1:{port}/postgres"), "plain").await;
    check(&format!("postgres://trusted@nowhere.invalid,127.0.0.1:{port}/postgres"), "plain").await;
    check(&format!("postgres://nobody@127.0.0.1:{port},127.0.0.1:{dead}/postgres"), "SOURCE_AUTH").await;
    check(&format!("postgres://trusted@127.0.0.1:{dead}/postgres"), "SOURCE_UNREACHABLE*refused").await;
    check(&format!("postgres://trusted@{socket}:{dead}/postgres"), "SOURCE_UNREACHABLE").await;
    // Read-only is not good enough where read-write is asked for.
    let admin = options(&format!("postgres://postgres@{socket}:{port}/postgres"));
    let (client, _driver) = connect_sql(&admin, "x").await.unwrap();
    client.batch_execute("ALTER ROLE trusted SET default_transaction_read_only = on").await.unwrap();
    let url = format!("postgres://trusted@127.0.0.1:{port}/postgres?target_session_attrs=read-write");
    check(&url, "SOURCE_IS_STANDBY*read-only").await;
}

#[tokio::test]
async fn a_rotated_password_file_is_read_again() {
    let cluster = server("host all scram 127.0.0.1/32 scram-sha-256", ROLES).await;
    let url = format!("postgres://scram@127.0.0.1:{}/postgres", cluster.port());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"canary-old\n").unwrap();
    let mut options = ConnectOptions { password_file: Some(file.path().to_owned()), ..options(&url) };
    assert!(outcome(&options).await.contains("28P01"));
    fs::write(file.path(), "canary\r\n").unwrap();
    assert_eq!(outcome(&options).await, "plain");
    fs::remove_file(file.path()).unwrap();
    assert!(outcome(&options).await.contains("SOURCE_AUTH"));
    // A libpq password file does as well.
    let pass = tempfile::NamedTempFile::new().unwrap();
    fs::write(pass.path(), format!("127.0.0.1:{}:*:scram:canary\n", cluster.port())).unwrap();
    options.password_file = None;
    options.passfile = Some(pass.path().to_owned());
    assert_eq!(outcome(&options).await, "plain");
    fs::set_permissions(pass.path(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(outcome(&options).await.contains("group or others may read it"));
}

/// A certificate with its key, and who signed it.
struct Made {
    cert: String,
    key: String,
}

struct Maker {
    ca: Made,
    issuer: Issuer<'static, KeyPair>,
}

fn parameters(common_name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut parameters = CertificateParams::new(hosts).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters
}

impl Maker {
    fn new(algorithm: &'static SignatureAlgorithm) -> Maker {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut parameters = parameters("a root of our own", &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = parameters.self_signed(&key).unwrap().pem();
        let ca = Made { cert, key: key.serialize_pem() };
        Maker { ca, issuer: Issuer::new(parameters, key) }
    }

    fn make(&self, parameters: &CertificateParams) -> Made {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Made { cert: parameters.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// Gives the server this certificate.
fn show(cluster: &Cluster, made: &Made) {
    write(cluster, "server.crt", &made.cert);
    write(cluster, "server.key", &made.key);
    cluster.down("fast", 30).unwrap();
    cluster.up().unwrap();
}

struct Tls {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Tls {
    async fn start(settings: &str, clients: &Made) -> Tls {
        let hba = "hostssl all certified 127.0.0.1/32 cert
            hostssl all tlsonly 127.0.0.1/32 scram-sha-256
            hostnossl all plainonly 127.0.0.1/32 trust
            host all trusted 127.0.0.1/32 trust
            host all plain 127.0.0.1/32 password
            host all scram 127.0.0.1/32 scram-sha-256";
        let cluster = server(hba, ROLES).await;
        write(&cluster, "client-root.crt", &clients.cert);
        let conf = cluster.data().join("postgresql.auto.conf");
        let mut conf = fs::OpenOptions::new().append(true).open(conf).unwrap();
        writeln!(conf, "ssl = on\nssl_ca_file = 'client-root.crt'\n{settings}").unwrap();
        Tls { cluster, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn check(&self, user: &str, host: &str, rest: &str, want: &str) {
        check(&format!("postgres://{user}@{host}:{}/postgres?{rest}", self.cluster.port()), want).await;
    }
}

#[tokio::test]
async fn every_sslmode_means_what_libpq_means() {
    let maker = Maker::new(&rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = Tls::start("", &maker.ca).await;
    let root = tls.file("root.crt", &maker.ca.cert);
    let other = tls.file("other.crt", &Maker::new(&rcgen::PKCS_ECDSA_P256_SHA256).ca.cert);

    show(&tls.cluster, &maker.make(&parameters("db", &["localhost", "127.0.0.1"])));
    let ca = format!("sslmode=verify-ca&sslrootcert={root}");
    let full = format!("sslmode=verify-full&sslrootcert={root}");
    let rows = [
        ("scram:canary", "sslmode=disable", "plain"),
        ("scram:canary", "sslmode=allow", "plain"),
        ("tlsonly:canary", "sslmode=allow", "tls"),
        ("scram:canary", "sslmode=prefer", "tls"),
        ("plainonly", "sslmode=prefer", "plain"),
        ("plainonly", "sslmode=require", "SOURCE_AUTH*28000"),
        ("tlsonly:canary", "sslmode=disable", "SOURCE_AUTH*28000"),
        ("plain:canary", "sslmode=require", "tls"),
        ("tlsonly:canary-wrong", "sslmode=require", "SOURCE_AUTH*28P01"),
        ("scram:canary", &format!("sslmode=require&sslrootcert={root}"), "tls"),
        ("scram:canary", &format!("sslmode=require&sslrootcert={other}"), "SOURCE_TLS*not signed by a trusted root"),
        ("scram:canary", &format!("sslmode=verify-ca&sslrootcert={other}"), "SOURCE_TLS*not signed by a trusted root"),
        ("scram:canary", "sslmode=verify-full", "SOURCE_TLS"),
        ("scram:canary", "sslmode=verify-full&sslrootcert=/nowhere", "SOURCE_TLS*sslrootcert /nowhere*cannot be read"),
        ("scram:canary", &ca, "tls"),
        ("scram:canary", &full, "tls"),
        ("scram:canary", &format!("{full}&channel_binding=require"), "tls"),
        ("scram:canary", &format!("{full}&channel_binding=disable"), "tls"),
        (
            "trusted",
            &format!("{full}&channel_binding=require"),
            "SOURCE_AUTH*does not ask for SCRAM with channel binding",
        ),
        ("plain:canary", &format!("{full}&channel_binding=require"), "SOURCE_AUTH*does not ask for SCRAM with"),
        ("certified", &full, "SOURCE_AUTH"),
    ];
    for (user, rest, want) in rows {
        tls.check(user, "127.0.0.1", rest, want).await;
    }
    tls.check("scram:canary", "localhost", &full, "tls").await;

    // A client certificate, also one that does not fit its key.
    let client = maker.make(&{
        let mut parameters = parameters("certified", &[]);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        parameters
    });
    let (cert, key) = (tls.file("client.crt", &client.cert), tls.file("client.key", &client.key));
    tls.check("certified", "127.0.0.1", &format!("{full}&sslcert={cert}&sslkey={key}"), "tls").await;
    let wrong = tls.file("wrong.key", &maker.ca.key);
    let wrong = format!("{full}&sslcert={cert}&sslkey={wrong}");
    tls.check("certified", "127.0.0.1", &wrong, "SOURCE_TLS*client certificate").await;
    let none = format!("{full}&sslcert={cert}&sslkey={cert}");
    tls.check("certified", "127.0.0.1", &none, "SOURCE_TLS*sslkey*no unencrypted private key").await;

    // For another host, and with a common name only.
    show(&tls.cluster, &maker.make(&parameters("localhost", &["db.example"])));
    tls.check("scram:canary", "localhost", &full, "SOURCE_TLS*not for this host").await;
    tls.check("scram:canary", "127.0.0.1", &full, "SOURCE_TLS*not for this host").await;
    tls.check("scram:canary", "localhost", &ca, "tls").await;
    show(&tls.cluster, &maker.make(&parameters("localhost", &[])));
    tls.check("scram:canary", "localhost", &full, "tls").await;
    tls.check("scram:canary", "127.0.0.1", &full, "SOURCE_TLS*not for this host").await;
}

#[tokio::test]
async fn certificates_that_servers_really_have() {
    // Made to sign others and signed by itself, as the usual openssl one-liner does.
    let own = Maker::new(&rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = Tls::start("", &own.ca).await;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut names = parameters("localhost", &["localhost"]);
    names.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let itself = Made { cert: names.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    show(&tls.cluster, &itself);
    let root = tls.file("self.crt", &itself.cert);
    let full = format!("sslmode=verify-full&sslrootcert={root}&channel_binding=require");
    tls.check("scram:canary", "localhost", &full, "tls").await;
    tls.check("scram:canary", "127.0.0.1", &full, "SOURCE_TLS*not for this host").await;
    let ca = format!("sslmode=verify-ca&sslrootcert={root}");
    tls.check("scram:canary", "127.0.0.1", &ca, "tls").await;
    let other = tls.file("other.crt", &own.ca.cert);
    let ca = format!("sslmode=verify-ca&sslrootcert={other}");
    tls.check("scram:canary", "localhost", &ca, "SOURCE_TLS*").await;
    tls.check("scram:canary", "localhost", "sslmode=require&channel_binding=require", "tls").await;

    // Every kind of signature binds the login to the certificate, but the one without a hash of its own.
    let bound = "sslmode=verify-full&channel_binding=require";
    let none = "SOURCE_AUTH*channel binding is not defined for";
    let kinds: [(&'static SignatureAlgorithm, &str, &str); 6] = [
        (&rcgen::PKCS_RSA_SHA256, "rsa-sha256", "tls"),
        (&rcgen::PKCS_RSA_SHA384, "rsa-sha384", "tls"),
        (&rcgen::PKCS_RSA_SHA512, "rsa-sha512", "tls"),
        (&rcgen::PKCS_ECDSA_P256_SHA256, "p256", "tls"),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "p384", "tls"),
        (&rcgen::PKCS_ED25519, "ed25519", none),
    ];
    for (algorithm, name, want) in kinds {
        let maker = Maker::new(algorithm);
        show(&tls.cluster, &maker.make(&parameters(name, &["localhost"])));
        let root = tls.file(&format!("{name}.crt"), &maker.ca.cert);
        tls.check("scram:canary", "localhost", &format!("{bound}&sslrootcert={root}"), want).await;
    }

    // Expired.
    let maker = Maker::new(&rcgen::PKCS_ECDSA_P256_SHA256);
    let mut old = parameters("localhost", &["localhost"]);
    old.not_before = rcgen::date_time_ymd(2001, 1, 1);
    old.not_after = rcgen::date_time_ymd(2002, 1, 1);
    show(&tls.cluster, &maker.make(&old));
    let root = tls.file("old.crt", &maker.ca.cert);
    let full = format!("sslmode=verify-full&sslrootcert={root}");
    tls.check("scram:canary", "localhost", &full, "SOURCE_TLS*has expired").await;

    // Made by a plain `openssl x509 -req`: version 1, no names.
    let Some(first) = version_one(tls.folder.path()) else {
        panic!("openssl could not make a certificate of version 1");
    };
    show(&tls.cluster, &first);
    tls.check("scram:canary", "localhost", "sslmode=require&channel_binding=require", "tls").await;
    let root = tls.file("v1-root.crt", &first.cert);
    let ca = format!("sslmode=verify-ca&sslrootcert={root}");
    tls.check("scram:canary", "localhost", &ca, "tls").await;
}

/// A self-signed certificate of X.509 version 1, which rcgen does not make.
fn version_one(folder: &Path) -> Option<Made> {
    let run = |arguments: &str| {
        let done =
            std::process::Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().ok()?;
        done.status.success().then_some(())
    };
    run("req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout v1.key -out v1.csr")?;
    run("x509 -req -in v1.csr -signkey v1.key -days 10 -out v1.crt")?;
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    Some(Made { cert: read("v1.crt")?, key: read("v1.key")? })
}

#[tokio::test]
async fn sessions_have_our_settings_whatever_the_role_has() {
    let cluster = Cluster::start(&["idle_session_timeout = '1h'"]).unwrap();
    let admin = cluster.client().await.unwrap();
    let roles = "CREATE ROLE r LOGIN REPLICATION;
        ALTER ROLE r SET search_path = 'evil';
        ALTER ROLE r SET statement_timeout = '7s';
        ALTER ROLE r SET lock_timeout = '7s';
        ALTER ROLE r SET idle_in_transaction_session_timeout = '7s';
        ALTER ROLE r SET idle_session_timeout = '7s';
        ALTER ROLE r SET \"TimeZone\" = 'Asia/Tokyo';
        ALTER ROLE r SET \"DateStyle\" = 'German, DMY';
        ALTER ROLE r SET \"IntervalStyle\" = 'iso_8601';
        ALTER ROLE r SET bytea_output = 'escape';
        ALTER ROLE r SET extra_float_digits = 0;
        ALTER ROLE r SET client_encoding = 'LATIN1';
        ALTER ROLE r SET standard_conforming_strings = off;";
    admin.batch_execute(roles).await.unwrap();
    let options = options(&format!("postgres://r@127.0.0.1:{}/postgres", cluster.port()));
    let mut replication = ReplicationConnection::connect(&options).await.unwrap();
    let (client, _driver) = connect_sql(&options, "setup").await.unwrap();
    let wanted = [
        ("search_path", ""),
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("idle_session_timeout", "0"),
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("bytea_output", "hex"),
        ("extra_float_digits", "3"),
        ("lc_monetary", "C"),
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
    ];
    for (name, want) in wanted {
        let rows = replication.simple_query(&format!("SHOW {name}")).await.unwrap();
        assert_eq!(rows, vec![vec![Some(want.to_owned())]], "{name}");
        let value: String = client.query_one(&format!("SHOW {name}"), &[]).await.unwrap().get(0);
        assert_eq!(value, want, "{name}");
    }
    let names = "SELECT application_name FROM pg_stat_activity WHERE usename = 'r' ORDER BY 1";
    let names: Vec<String> = admin.query(names, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["sluicegate/p", "sluicegate/p/setup"]);
}

#[tokio::test]
async fn a_stream_starts_or_says_why_not() {
    let cluster = Cluster::start(&[]).unwrap();
    let admin = cluster.client().await.unwrap();
    let setup = "CREATE TABLE t (a int PRIMARY KEY); CREATE PUBLICATION \"odd \"\"one\" FOR TABLE t";
    admin.batch_execute(setup).await.unwrap();
    let slots = "SELECT pg_create_logical_replication_slot('good', 'pgoutput');
        SELECT pg_create_physical_replication_slot('physical', true);
        CREATE DATABASE elsewhere";
    for sql in slots.split(';') {
        admin.batch_execute(sql).await.unwrap();
    }
    let options = options(&cluster.url("postgres"));
    let publication = super::super::quote::identifier("odd \"one");
    let stream = [("proto_version", "1"), ("publication_names", publication.as_str())];
    let connect = |options| ReplicationConnection::connect(options);

    let connection = connect(&options).await.unwrap();
    let row = admin.query_one("SELECT system_identifier::text FROM pg_control_system()", &[]).await.unwrap();
    assert_eq!(connection.system().identifier, row.get::<_, String>(0));
    assert_eq!(connection.system().timeline, 1);
    let _copying = connection.start_replication("good", Lsn::INVALID, &stream).await.unwrap();

    let rows = [
        ("good", "SLOT_IN_USE", "good"),
        ("missing", "SLOT_MISSING", "missing"),
        ("physical", "SLOT_UNUSABLE", "physical"),
    ];
    for (slot, code, object) in rows {
        let reason = connect(&options).await.unwrap().start_replication(slot, Lsn::INVALID, &stream).await.unwrap_err();
        assert_eq!((reason.code, reason.object.as_str()), (code, object), "{reason:?}");
    }
    let other = ConnectOptions { database: "elsewhere".into(), ..options.clone() };
    let reason = connect(&other).await.unwrap().start_replication("good", Lsn::INVALID, &stream).await.unwrap_err();
    assert!(matches!(reason.code, "SLOT_IN_USE" | "SLOT_UNUSABLE"), "{reason:?}");
}

#[tokio::test]
async fn a_used_up_limit_is_named() {
    let cluster = Cluster::start(&["max_wal_senders = 1"]).unwrap();
    let options = options(&cluster.url("postgres"));
    let _only = ReplicationConnection::connect(&options).await.unwrap();
    let reason = ReplicationConnection::connect(&options).await.unwrap_err();
    assert_eq!(reason.code, "SOURCE_LIMIT", "{reason:?}");
}

#[tokio::test]
async fn quoted_text_arrives_as_it_is() {
    let cluster = Cluster::start(&[]).unwrap();
    let mut connection = ReplicationConnection::connect(&options(&cluster.url("postgres"))).await.unwrap();
    for text in ["", "it's", "a\\'b\\\\", "\"double\"", "$$;--/*", "tschüß\n\t🙂"] {
        let name = format!("n{text}");
        let sql =
            format!("SELECT {} AS {}", super::super::quote::literal(text), super::super::quote::identifier(&name));
        assert_eq!(connection.simple_query(&sql).await.unwrap(), vec![vec![Some(text.to_owned())]], "{sql}");
    }
    let rows = connection.simple_query("SELECT NULL, 1").await.unwrap();
    assert_eq!(rows, vec![vec![None, Some("1".to_owned())]]);
    // An error leaves the connection usable; a zero byte is not sent at all.
    assert_eq!(connection.simple_query("SELECT 1/0").await.unwrap_err().code, "SOURCE_ERROR");
    assert_eq!(connection.simple_query("SELECT 1").await.unwrap().len(), 1);
    assert!(connection.simple_query("SELECT '\0'").await.is_err());
}

#[tokio::test]
async fn the_driver_says_why_a_connection_ended() {
    let cluster = Cluster::start(&[]).unwrap();
    let options = options(&cluster.url("postgres"));
    let (client, driver) = connect_sql(&options, "a").await.unwrap();
    let (killer, quiet) = connect_sql(&options, "b").await.unwrap();
    // A simple query: a prepared one would still be closing its statement, and that would get the server's last word.
    let answer = client.simple_query("SELECT pg_backend_pid()").await.unwrap();
    let row = answer.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let pid: i32 = row.unwrap().parse().unwrap();
    killer.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    let error = driver.await.unwrap().unwrap();
    assert_eq!(sqlstate::query_reason(&error, "waiting").code, "SOURCE_STOPPED");
    let error = client.query_one("SELECT 1", &[]).await.unwrap_err();
    assert_eq!(sqlstate::query_reason(&error, "asking").code, "SOURCE_UNREACHABLE");
    drop(killer);
    assert!(quiet.await.unwrap().is_none());
}

/// A listener that reads once, answers each connection with the same bytes, and closes it.
async fn impostor(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            drop(stream.read(&mut request).await);
            drop(stream.write_all(&answer).await);
        }
    });
    port
}

fn error_response(code: &str, message: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0C{code}\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat()
}

#[tokio::test]
async fn impostors_are_named() {
    let pooler = error_response("08P01", "unsupported startup parameter: replication");
    let scram_skipped = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R\0\0\0\x08\0\0\0\0".to_vec();
    let rows = [
        ("disable", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "SOURCE_PROTOCOL*an HTTP server"),
        ("require", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "SOURCE_PROTOCOL"),
        ("disable", b"\x15\x03\x01\x00\x02\x02\x46".to_vec(), "SOURCE_PROTOCOL*a TLS alert"),
        ("require", b"\x15\x03\x01\x00\x02\x02\x46".to_vec(), "SOURCE_PROTOCOL*a TLS alert"),
        ("require", b"Snonsense, no TLS at all".to_vec(), "SOURCE_TLS*did not speak it"),
        ("require", b"N".to_vec(), "SOURCE_TLS*does not offer it"),
        ("require", error_response("XX000", "believe me"), "SOURCE_UNREACHABLE*with an error"),
        ("disable", Vec::new(), "SOURCE_UNREACHABLE*closed"),
        ("require", Vec::new(), "SOURCE_UNREACHABLE*closed"),
        ("disable", b"R\0\0".to_vec(), "SOURCE_UNREACHABLE*closed"),
        ("disable", pooler, "SOURCE_POOLER*unsupported startup parameter"),
        ("disable", error_response("57P03", "the database system is starting up"), "SOURCE_STARTING"),
        ("disable", scram_skipped, "SOURCE_AUTH*without proving itself"),
        ("disable", b"R\0\0\0\x08\0\0\0\x07".to_vec(), "SOURCE_AUTH*GSSAPI"),
        ("disable", b"R\0\0\0\x09\0\0\0\x05x".to_vec(), "SOURCE_PROTOCOL"),
        ("disable", b"Z\0\0\0\x05I".to_vec(), "SOURCE_PROTOCOL*no place in a login"),
    ];
    for (sslmode, answer, want) in rows {
        let shown = answer.escape_ascii().to_string();
        let port = impostor(answer).await;
        let url = format!("postgres://u:canary@127.0.0.1:{port}/d?sslmode={sslmode}");
        let got = outcome(&options(&url)).await;
        assert!(want.split('*').all(|part| got.contains(part)), "{shown}: {got}; wanted {want}");
    }
    // A server that is starting up is passed over for the next one.
    let starting = impostor(error_response("57P03", "the database system is starting up")).await;
    let cluster = Cluster::start(&[]).unwrap();
    let hosts = format!("127.0.0.1:{starting},127.0.0.1:{}", cluster.port());
    check(&format!("postgres://postgres@{hosts}/postgres?sslmode=disable"), "plain").await;
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://u@127.0.0.1:{port}/d?connect_timeout=1");
    let got = outcome(&options(&url)).await;
    assert!(got.contains("SOURCE_UNREACHABLE") && got.contains("no answer within 1 s"), "{got}");
}

/// A login over a socket pair, as if it went over a network.
fn login_over(ours: UnixStream, options: &ConnectOptions) -> Login<'_> {
    let channel = Channel {
        socket: Socket::Unix(ours),
        buffer: bytes::BytesMut::new(),
        place: "db.example:5432".into(),
        local: false,
        end_point: None,
    };
    let password = Password { options, host: &options.hosts[0] };
    Login { channel, binding: ChannelBinding::Prefer, password, scram: Scram::None, asked: false }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Messages with right frames and any content, in any order, break nothing.
    #[test]
    fn no_answer_makes_a_login_panic(
        answers in prop::collection::vec(
            (prop::sample::select(b"RRRRSKNEvWDT".to_vec()), prop::collection::vec(any::<u8>(), 0..40), 0..13u32),
            1..6,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = options("postgres://u:canary@db.example/d?sslmode=disable");
        let outcome = runtime.block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            for (tag, content, method) in &answers {
                // An authentication request starts with its kind; others are left as they come.
                let kind = if *tag == b'R' { method.to_be_bytes().to_vec() } else { Vec::new() };
                let length = u32::try_from(4 + kind.len() + content.len()).unwrap();
                theirs.write_all(&[&[*tag][..], &length.to_be_bytes(), &kind, content].concat()).await.unwrap();
            }
            theirs.shutdown().await.unwrap();
            login_over(ours, &options).run(&[("user", "u")]).await
        });
        let shown = format!("{outcome:?}");
        prop_assert!(!shown.contains("canary"), "{}", shown);
    }
}

#[tokio::test]
async fn a_password_in_clear_text_stays_off_the_network() {
    let options = options("postgres://u:canary@db.example/d?sslmode=disable");
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"R\0\0\0\x08\0\0\0\x03").await.unwrap();
    let failure = login_over(ours, &options).run(&[("user", "u")]).await.unwrap_err();
    assert_eq!((failure.reason.code, failure.then), ("SOURCE_AUTH", Then::GiveUp));
    assert!(failure.reason.message.contains("in clear text over an unencrypted connection"), "{}", failure.reason);
    let mut sent = Vec::new();
    theirs.read_to_end(&mut sent).await.unwrap();
    assert!(!sent.windows(6).any(|bytes| bytes == b"canary"));
}
