//! `starrocks-standin`: see the package's README.

use clap::Parser;
use starrocks_standin::store::{Release, Settings};
use starrocks_standin::{Options, Server};

/// An in-memory server with the two faces of StarRocks, for tests and demonstrations. It is not StarRocks and not a
/// database: what it holds is gone when it ends.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// HTTP port of the frontend; 0 takes a free one.
    #[arg(long, default_value_t = 8030)]
    fe_port: u16,
    /// HTTP port of the backend.
    #[arg(long, default_value_t = 8040)]
    be_port: u16,
    /// MySQL port.
    #[arg(long, default_value_t = 9030)]
    sql_port: u16,
    /// The one user.
    #[arg(long, default_value = "root")]
    user: String,
    /// The user's password.
    #[arg(long, default_value = "")]
    password: String,
    /// The release to imitate: 3.3, 3.5 or 4.1.
    #[arg(long, default_value = "3.5")]
    imitate: Release,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let settings = Settings {
        user: arguments.user,
        password: arguments.password,
        release: arguments.imitate,
        ..Settings::default()
    };
    let options = Options { settings, fe_http: arguments.fe_port, be_http: arguments.be_port, sql: arguments.sql_port };
    let server = Server::start(options).await?;
    let ports = server.ports();
    println!("This is a stand-in for StarRocks, for tests and demonstrations. It is not StarRocks.");
    println!("frontend http://127.0.0.1:{}  backend http://127.0.0.1:{}", ports.fe_http, ports.be_http);
    println!("mysql -h 127.0.0.1 -P {}", ports.sql);
    tokio::signal::ctrl_c().await
}
