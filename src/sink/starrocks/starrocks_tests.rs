use super::*;

/// Options that reach nobody.
pub(in crate::sink::starrocks) fn options() -> Options {
    use crate::sink::starrocks::{BadValue, DeleteMode, Frontend};
    Options {
        frontends: vec![Frontend { https: false, host: "127.0.0.1".into(), port: 1 }],
        sql_port: 1,
        user: "root".into(),
        password: "hunter2".to_owned().into(),
        password_file: None,
        database: "shop".into(),
        create_tables: true,
        replication_num: None,
        audit_prefix: Some("sluice_".into()),
        delete_mode: DeleteMode::Soft,
        on_bad_value: BadValue::Block,
        load_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(2),
        parallelism: 4,
        redirect_allow: Vec::new(),
        redirect_map: Vec::new(),
        tls_ca: None,
        pipeline: "shop".into(),
    }
}
