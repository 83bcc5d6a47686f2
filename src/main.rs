//! The program: settings, logger, server, applications, start.
//!
//! PHP counterpart: `runSocketServer.php`.

use std::process::ExitCode;

use phpws::commands;
use phpws::log_file::{self, LogFile};
use phpws::open_files;
use phpws::resources::{ResourceDefault, ResourcePhp, ResourceStatus, ResourceWeb};
use phpws::settings::{self, Invocation, InvocationError, Settings};
use phpws::systemd::{self, Systemd};
use phpws::{StartError, Tls, WebSocketServer};

/// It gives memory back to the system after a peak, where glibc keeps whatever lies below something in use.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(outcome) = commands::run(&args) {
        return outcome;
    }
    // Before the settings: some of them follow from it.
    open_files::raise();
    match settings::from_args(&args, |name| std::env::var(name).ok()) {
        Ok(Invocation::Print(text)) => print!("{text}"),
        Ok(Invocation::Run(settings)) => {
            if let Err(error) = run(*settings) {
                eprintln!("phpws: {error}");
                return ExitCode::FAILURE;
            }
        }
        Err(InvocationError::Start(error)) => {
            eprintln!("phpws: {error}");
            return ExitCode::FAILURE;
        }
        Err(InvocationError::Usage(problem)) => {
            eprintln!("phpws: {problem}; see phpws --help");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn run(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let tls = settings.cert.as_ref().map(|cert| Tls::load(cert, settings.key.as_ref().unwrap_or(cert))).transpose()?;
    let parts = settings.parts()?;
    let log_file = open_log(&settings)?;
    if settings.check {
        settings.address.resolve().map_err(|error| StartError::new(format_args!("address {}", settings.address), error))?;
        let mut server = WebSocketServer::unbound(settings.limits.clone())?;
        settings.equip(&mut server, parts)?;
        register_resources(&mut server)?;
        server.check()?;
        println!("phpws: settings are fine for {}", settings.address);
        for line in settings.internet.iter().flat_map(|internet| [internet.told()].into_iter().chain(internet.missing())) {
            println!("phpws: {line}");
        }
        return Ok(());
    }
    log_file::init_with_rate(settings.log_level, settings.log_format, settings.console, log_file.clone(), settings.log_rate)?;

    let mut server = match systemd::listener(&settings.address)? {
        Some(listener) => WebSocketServer::listen_on(listener, tls, settings.limits.clone())?,
        None => WebSocketServer::bind(&settings.address, tls, settings.limits.clone())?,
    };
    if let Some(internet) = &settings.internet {
        log::info!("{}", internet.told());
        internet.missing().for_each(|line| log::warn!("{line}"));
    }
    server.notify(Systemd::from_env()?);
    // The log says how that went.
    server.handle_signals(move || _ = log_file.as_ref().map(LogFile::reopen))?;
    settings.equip(&mut server, parts)?;
    register_resources(&mut server)?;
    server.start()?;
    Ok(())
}

fn register_resources(server: &mut WebSocketServer) -> Result<(), StartError> {
    server.register_resource("/", ResourceDefault)?;
    server.register_resource("/web", ResourceWeb)?;
    server.register_resource("/php", ResourcePhp)?;
    server.register_resource("/status", ResourceStatus::default())
}

fn open_log(settings: &Settings) -> Result<Option<LogFile>, StartError> {
    let Some(path) = &settings.log_file else { return Ok(None) };
    let log_file = LogFile::open(path, settings.log_size, settings.log_keep);
    log_file.map(Some).map_err(|error| StartError::new(format_args!("--log-file {}", path.display()), error))
}
