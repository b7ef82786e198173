//! What connection strings mean, row by row.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

type Env<'a> = &'a [(&'a str, &'a str)];

fn parse(url: &str, variables: Env<'_>) -> Result<ConnectOptions, Vec<String>> {
    ConnectOptions::parse(url, &|name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

/// The options as one line: hosts, user, password, database, and what differs from the defaults.
fn line(options: &ConnectOptions) -> String {
    let hosts: Vec<String> = options.hosts.iter().map(Host::place).collect();
    let password = options.password.as_ref().map_or("-", |password| password.expose_secret());
    let mut line = format!("{} {} {password} {}", hosts.join(","), options.user, options.database);
    let mut add = |name: &str, value: String, usual: &str| {
        if value != usual {
            line.push_str(&format!(" {name}={value}"));
        }
    };
    let file = |path: &Option<PathBuf>| path.as_ref().map_or(String::new(), |path| path.display().to_string());
    add("sslmode", options.sslmode.name().to_owned(), "prefer");
    add("binding", options.channel_binding.name().to_owned(), "prefer");
    add("root", file(&options.sslrootcert), "");
    add("cert", file(&options.sslcert), "");
    add("key", file(&options.sslkey), "");
    add("timeout", options.connect_timeout.as_secs().to_string(), "10");
    add("app", options.application_name.clone(), "sluicegate");
    add("read_write", options.read_write.to_string(), "false");
    line
}

#[test]
fn strings_mean_what_libpq_says() {
    let cases: &[(&str, Env<'_>, &str)] = &[
        ("postgresql://u@h/d", &[], "h:5432 u - d"),
        ("postgres://u:p@h:5433/d", &[], "h:5433 u p d"),
        ("  postgres://u@h/d\n", &[], "h:5432 u - d"),
        ("postgres://u@h", &[], "h:5432 u - u"),
        ("postgres://u@h/", &[], "h:5432 u - u"),
        ("postgres://u:@h/d", &[], "h:5432 u - d"),
        ("postgres://u%40x:a%40b%3Ac%2Fd%25e@h/d%2Fe", &[], "h:5432 u@x a@b:c/d%e d/e"),
        ("postgres://u:p#q?r@h/d", &[], "h:5432 u p#q?r d"),
        ("postgres://u:p:q@h/d", &[], "h:5432 u p:q d"),
        ("postgres://u@[::1]:6/d", &[], "[::1]:6 u - d"),
        ("postgres://u@[2001:db8::7]/d", &[], "[2001:db8::7]:5432 u - d"),
        ("postgres://u@a,b:7,[::1]:8/d", &[], "a:5432,b:7,[::1]:8 u - d"),
        ("postgres://u@a,b/d", &[("PGPORT", "7")], "a:7,b:7 u - d"),
        ("postgres://u@%2Frun%2Fpg:7/d", &[], "/run/pg/.s.PGSQL.7 u - d"),
        ("postgres:///d?host=/run/pg&user=u", &[], "/run/pg/.s.PGSQL.5432 u - d"),
        ("postgres:///d?host=/run/pg,h&port=1,2&user=u", &[], "/run/pg/.s.PGSQL.1,h:2 u - d"),
        ("postgres://h/d?user=u&password=a%26b&connect_timeout=3", &[], "h:5432 u a&b d timeout=3"),
        ("postgres://u@h/d?application_name=mine", &[], "h:5432 u - d app=mine"),
        ("postgres://u@h/d?replication=database&options=&gssencmode=disable", &[], "h:5432 u - d"),
        ("postgres://u@h/d?target_session_attrs=any", &[], "h:5432 u - d"),
        ("postgres://u@a,b/d?target_session_attrs=read-write", &[], "a:5432,b:5432 u - d read_write=true"),
        ("postgres://u@h/d?hostaddr=", &[], "h:5432 u - d"),
        ("postgres://u@/d?hostaddr=10.0.0.7", &[], "10.0.0.7:5432 u - d"),
        ("postgres://u@h/d?sslmode=disable", &[], "h:5432 u - d sslmode=disable"),
        ("postgres://u@h/d?sslmode=allow", &[], "h:5432 u - d sslmode=allow"),
        ("postgres://u@h/d?sslmode=require", &[], "h:5432 u - d sslmode=require"),
        ("postgres://u@h/d?ssl=true", &[], "h:5432 u - d sslmode=require"),
        ("postgres://u@h/d?sslmode=verify-ca&sslrootcert=/r", &[], "h:5432 u - d sslmode=verify-ca root=/r"),
        ("postgres://u@h/d?sslrootcert=system", &[], "h:5432 u - d sslmode=verify-full"),
        ("postgres://u@h/d?sslcert=/c&sslkey=/k", &[], "h:5432 u - d cert=/c key=/k"),
        (
            "postgres://u@h/d?channel_binding=require&sslmode=verify-full",
            &[],
            "h:5432 u - d sslmode=verify-full binding=require",
        ),
        ("host=h user=u dbname=d", &[], "h:5432 u - d"),
        ("host = h  port=7 user='a b' password='it\\'s \\\\' dbname=d", &[], "h:7 a b it's \\ d"),
        ("user=u password='' host=h", &[], "h:5432 u - u"),
        // Blanks after the = are skipped, so this is the password `host=h`; as in libpq.
        ("host=h user=u password= host=h", &[], "h:5432 u host=h u"),
        // What the string lacks comes from the environment, and only that.
        (
            "",
            &[("PGHOST", "h"), ("PGPORT", "7"), ("PGUSER", "u"), ("PGPASSWORD", "p"), ("PGDATABASE", "d")],
            "h:7 u p d",
        ),
        (
            "postgres://u:p@h/d",
            &[("PGHOST", "x"), ("PGUSER", "x"), ("PGPASSWORD", "x"), ("PGDATABASE", "x")],
            "h:5432 u p d",
        ),
        (
            "postgres://u@h/d",
            &[("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", "/r"), ("PGSSLCERT", "/c"), ("PGSSLKEY", "/k")],
            "h:5432 u - d sslmode=verify-ca root=/r cert=/c key=/k",
        ),
        ("postgres://u@h/d?sslmode=require", &[("PGSSLMODE", "disable")], "h:5432 u - d sslmode=require"),
        (
            "postgres://u@h/d",
            &[("PGCHANNELBINDING", "disable"), ("PGCONNECT_TIMEOUT", "7"), ("PGAPPNAME", "a")],
            "h:5432 u - d binding=disable timeout=7 app=a",
        ),
        // An empty variable, as compose files make them, is none.
        ("postgres://u@h/d", &[("PGPORT", ""), ("PGSSLMODE", ""), ("PGOPTIONS", "")], "h:5432 u - d"),
        ("postgres://u@h/d", &[("PGSERVICE", "s")], "h:5432 u - d"),
    ];
    for (url, variables, want) in cases {
        let options = parse(url, variables).unwrap_or_else(|problems| panic!("{url}: {problems:?}"));
        assert_eq!(line(&options), *want, "{url}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let cases: &[(&str, Env<'_>, &[&str])] = &[
        ("mysql://u:p@h/d", &[], &["does not start with postgresql://"]),
        ("Postgres://u@h/d", &[], &["does not start with postgresql://"]),
        ("jdbc:postgresql://h/d?user=u", &[], &["does not start with postgresql://"]),
        ("h", &[], &["neither a postgresql:// URL nor"]),
        ("postgres://u@h:0/d", &[], &["port 1 is not a number from 1 to 65535"]),
        ("postgres://u@a,b:99999/d", &[], &["port 2 is not a number from 1 to 65535"]),
        ("postgres://u@h:+5/d", &[], &["port 1 is not a number"]),
        ("postgres://u@h/d", &[("PGPORT", "x")], &["PGPORT 1 is not a number"]),
        ("postgres://u@a,b,c/d?port=1,2", &[], &["2 ports are given for 3 hosts"]),
        ("postgres://u@h/d#frag", &[], &["a # stands in the URL"]),
        ("postgres://u@h/d?sslmode=require#frag", &[], &["a # stands in the URL"]),
        ("postgres://u:a@b@h/d", &[], &["an @ stands where it cannot"]),
        ("postgres://u:a/b@h/d", &[], &["an @ stands where it cannot"]),
        ("postgres://u:a%zz@h/d", &[], &["the password has a % that is not followed"]),
        ("postgres://u:a%2@h/d", &[], &["the password has a % that is not followed"]),
        ("postgres://u:a%00@h/d", &[], &["the password holds %00"]),
        ("postgres://u:a%ff@h/d", &[], &["the password is not UTF-8"]),
        ("postgres://u@::1/d", &[], &["put an IPv6 address in brackets"]),
        ("postgres://u@[::1/d", &[], &["is not closed"]),
        ("postgres://u@[]/d", &[], &["are empty"]),
        ("postgres://u@[::1]x/d", &[], &["only a port can follow"]),
        ("postgres://u@[nope:1]/d", &[], &["host 1: it is not an IPv6 address"]),
        ("postgres://u@a b/d", &[], &["host 1: it is not a host name"]),
        ("postgres://u@%40abstract/d", &[], &["abstract unix sockets"]),
        ("postgres://u@h/d?hostaddr=10.0.0.7", &[], &["hostaddr beside host"]),
        ("postgres://u@h/d", &[("PGHOSTADDR", "10.0.0.7")], &["hostaddr beside host"]),
        ("postgres://u@h/d?sslmode", &[], &["parameter 1 of the URL has no ="]),
        ("postgres://u@h/d?a=b=c", &[], &["parameter 1 of the URL has more than one ="]),
        ("postgres://u@h/d?=c", &[], &["parameter 1 of the URL has no name"]),
        ("postgres://u@h/d?sslmod=require", &[], &["parameter sslmod is not one libpq knows"]),
        ("postgres://u@h/d?ssl=1", &[], &["parameter ssl may only be true"]),
        ("postgres://u@h/d?sslmode=disable&sslmode=require", &[], &["sslmode is given twice"]),
        ("postgres://u@h/d?user=v", &[], &["user is given twice"]),
        ("postgres://u@h/d?sslmode=verify_full", &[], &["sslmode is not one of disable, allow"]),
        ("postgres://u@h/d?sslmode=", &[], &["sslmode is not one of"]),
        ("postgres://u@h/d?sslmode=REQUIRE", &[], &["sslmode is not one of"]),
        ("postgres://u@h/d", &[("PGSSLMODE", "on")], &["PGSSLMODE is not one of"]),
        ("postgres://u@h/d?channel_binding=yes", &[], &["channel_binding is not one of"]),
        ("postgres://u@h/d?channel_binding=require&sslmode=disable", &[], &["channel_binding=require needs TLS"]),
        ("postgres:///d?user=u&host=/run&sslmode=require", &[], &["there is none over a unix socket"]),
        ("postgres://u@h/d?sslrootcert=system&sslmode=require", &[], &["needs sslmode=verify-full"]),
        ("postgres://u@h/d?sslcert=/c", &[], &["needs both sslcert and sslkey"]),
        ("postgres://u@h/d?options=-c%20search_path%3Dx", &[], &["options is refused"]),
        ("postgres://u@h/d", &[("PGOPTIONS", "-c a=b")], &["PGOPTIONS is refused"]),
        ("postgres://u@h/d?target_session_attrs=standby", &[], &["target_session_attrs may only be any or read-write"]),
        ("postgres://u@h/d?gssencmode=require", &[], &["gssencmode may only be disable or prefer"]),
        ("postgres://u@h/d?sslcrl=/c", &[], &["sslcrl is refused"]),
        ("postgres://u@h/d?require_auth=scram-sha-256", &[], &["require_auth is refused"]),
        ("postgres://u@h/d?connect_timeout=0", &[], &["connect_timeout is not a whole number"]),
        ("postgres://u@h/d?connect_timeout=1s", &[], &["connect_timeout is not a whole number"]),
        ("service=s", &[], &["service is refused"]),
        ("", &[("PGSERVICE", "s")], &["PGSERVICE is refused"]),
        ("host=h user", &[], &["pair 2 of the connection string has no ="]),
        ("host=h user='u", &[], &["the quote of value 2 is not closed"]),
        // All at once.
        (
            "postgres://u:%@h:0/d?nope=1&sslmode=x",
            &[("PGCONNECT_TIMEOUT", "x")],
            &["the password has a %", "parameter nope", "port 1", "sslmode is not", "PGCONNECT_TIMEOUT is not"],
        ),
    ];
    for (url, variables, want) in cases {
        let problems = parse(url, variables).expect_err(url);
        assert_eq!(problems.len(), want.len(), "{url}: {problems:?}");
        for text in *want {
            assert!(problems.iter().any(|problem| problem.contains(text)), "{url}: {problems:?} lacks {text:?}");
        }
    }
}

#[test]
fn what_is_weaker_or_ignored_is_noted() {
    let cases: &[(&str, &[&str])] = &[
        ("postgres://u@db/d", &["sslmode is not set"]),
        ("postgres://u@db/d?sslmode=prefer", &[]),
        ("postgres://u@localhost/d", &[]),
        ("postgres://u@[::1],127.0.0.9/d", &[]),
        ("postgres://u@%2Frun/d", &[]),
        ("postgres://u@localhost/d?keepalives_idle=5", &["keepalives_idle is ignored"]),
    ];
    for (url, want) in cases {
        let notes = parse(url, &[]).expect(url).notes;
        assert_eq!(notes.len(), want.len(), "{url}: {notes:?}");
        assert!(want.iter().zip(&notes).all(|(want, note)| note.contains(want)), "{url}: {notes:?}");
    }
}

#[test]
fn a_redacted_url_leads_to_the_same_place() {
    for url in [
        "postgres://u%40x:secret@h,[::1]:7/d%2Fe?sslmode=verify-full&channel_binding=require",
        "postgres://u:secret@%2Frun%2Fa%20b:7/d",
        "postgres://u:secret@h/d?target_session_attrs=read-write&sslmode=disable",
    ] {
        let options = parse(url, &[]).unwrap();
        let again = parse(&options.redacted(), &[]).unwrap();
        assert!(!options.redacted().contains("secret"));
        assert_eq!(line(&again), line(&options).replace(" secret ", " - "), "{url}");
    }
}

#[test]
fn the_pipeline_names_the_sessions_unless_the_user_did() {
    let named = |url: &str| parse(url, &[]).unwrap().for_pipeline("shop").application_name;
    assert_eq!(named("postgres://u@h/d"), "sluicegate/shop");
    assert_eq!(named("postgres://u@h/d?application_name=mine"), "mine");
}

#[test]
fn password_files_are_read_as_libpq_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pass");
    let text = "# comment\n\
                other:*:*:*:wrong\n\
                db:5433:shop:reader:one\n\
                db:*:shop:reader:two\n\
                we\\:ird:*:*:*:a\\:b\\\\c\n\
                localhost:*:*:*:socket\n\
                /run/pg:*:*:*:path\n\
                ::1:*:*:*:bad line is no match\n";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let cases = [
        (Host::Tcp("db".into(), 5433), "shop", "reader", Some("one")),
        (Host::Tcp("db".into(), 5432), "shop", "reader", Some("two")),
        (Host::Tcp("db".into(), 5432), "else", "reader", None),
        (Host::Tcp("we:ird".into(), 5432), "x", "y", Some("a:b\\c")),
        (Host::Unix("/tmp".into(), 5432), "x", "y", Some("socket")),
        (Host::Unix("/run/pg".into(), 5432), "x", "y", Some("path")),
        (Host::Tcp("nowhere".into(), 5432), "x", "y", None),
    ];
    for (host, database, user, want) in cases {
        let found = passfile::find(&path, &host, database, user).unwrap();
        assert_eq!(found.as_ref().map(|found| found.expose_secret()), want, "{host:?} {database} {user}");
    }
    let used = |mode: u32| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        parse("postgres://u@localhost/d", &[("PGPASSFILE", path.to_str().unwrap())]).unwrap().notes
    };
    assert_eq!(used(0o600), Vec::<String>::new());
    assert!(used(0o640)[0].contains("group or others may read it"));
    assert!(matches!(
        passfile::find(&path, &Host::Tcp("db".into(), 5433), "shop", "reader"),
        Err(passfile::Unusable::Open)
    ));
}

#[test]
fn files_of_the_home_folder_are_found() {
    let home = tempfile::tempdir().unwrap();
    let at = |file: &str| home.path().join(file);
    fs::create_dir(at(".postgresql")).unwrap();
    fs::write(at(".postgresql/root.crt"), "").unwrap();
    fs::write(at(".pgpass"), "").unwrap();
    fs::set_permissions(at(".pgpass"), fs::Permissions::from_mode(0o600)).unwrap();
    let variables = [("HOME", home.path().to_str().unwrap())];
    let options = parse("postgres://u@h/d?sslmode=require", &variables).unwrap();
    assert_eq!(options.sslrootcert, Some(at(".postgresql/root.crt")));
    assert_eq!(options.passfile, Some(at(".pgpass")));
    let options = parse("postgres://u:p@h/d?sslrootcert=system", &variables).unwrap();
    assert_eq!((options.sslrootcert, options.passfile), (None, None));
}

const CANARY: &str = "Qanary7xZ";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Wherever a password lands when its owner forgets to encode it, it is shown nowhere.
    #[test]
    fn a_password_is_never_shown(
        before in r#"[a-z@:/?#%&=' \\]{0,4}"#,
        after in r#"[a-z@:/?#%&=' \\,\[\]]{0,4}"#,
        form in 0..6,
        rest in prop::sample::select(vec!["@h/d", "@h:0/d?nope=1", "@[::1/d", "@h/d?sslmode=x", "@h,i:x/d", "@h/d?a"]),
    ) {
        let password = format!("{before}{CANARY}{after}");
        let encoded = encode(&password);
        let (url, variables): (String, Env<'_>) = match form {
            0 => (format!("postgres://u:{password}{rest}"), &[]),
            1 => (format!("postgres://u:{encoded}{rest}"), &[]),
            2 => (format!("postgres://h/d?user=u&password={password}&sslmode=x&port=0"), &[]),
            3 => (format!("postgres://h/d?user=u&port=x&password={encoded}"), &[]),
            4 => (format!("host=h user=u password={password} port=0 nope=1"), &[]),
            _ => (format!("postgres://u{rest}"), &[("PGPASSWORD", CANARY)]),
        };
        match parse(&url, variables) {
            Err(problems) => prop_assert!(!format!("{problems:?}").contains(CANARY), "{url}: {problems:?}"),
            Ok(options) => {
                let kept = options.password.as_ref().is_some_and(|password| password.expose_secret().contains(CANARY));
                prop_assert!(kept, "{url}: the password is taken for something else: {options:?}");
                let shown = format!("{options:?} {} {:?}", options.redacted(), options.notes);
                prop_assert!(!shown.contains(CANARY), "{url}: {shown}");
            }
        }
    }

    #[test]
    fn anything_is_read_or_refused_without_a_panic(
        text in r#"(postgres://|postgresql://|)(\PC|[@:/?#%&=,\[\]']){0,40}"#,
    ) {
        drop(parse(&text, &[("USER", "u")]));
    }
}
