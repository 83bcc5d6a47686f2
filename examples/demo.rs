//! The three applications that the document tells of, on one server: locked books, long queries, reservations.
//!
//! `make demo` starts it together with the pages and their PHP backends; docs/applications.md tells how they work.

use phpws::resources::{ResourceDefault, ResourceEmas, ResourcePhp, ResourceRvk, ResourceWeb, ResourceWlbriserva};
use phpws::{Address, Limits, WebSocketServer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    phpws::log_file::init(log::LevelFilter::Info, phpws::log_file::LogFormat::Text, true, None)?;
    let address = std::env::args().nth(1).map_or(Ok(Address::default()), |text| Address::parse(&text))?;
    if address.secure {
        return Err("it has no certificate; choose an address that begins with ws://".into());
    }
    let mut server = WebSocketServer::bind(&address, None, Limits::default())?;
    server.handle_signals(|| {})?;
    server.register_resource("/", ResourceDefault)?;
    server.register_resource("/web", ResourceWeb)?;
    server.register_resource("/php", ResourcePhp)?;
    server.register_resource("/emas", ResourceEmas::default())?;
    server.register_resource("/rvk", ResourceRvk::default())?;
    server.register_resource("/wlbriserva", ResourceWlbriserva::default())?;
    Ok(server.start()?)
}
