//! Values from other threads, keys, answers and timers that are cancelled: every client of `/prices` gets the newest price.
//!
//! `cargo run --example prices`, then in the console of a tab that shows <http://127.0.0.1:8095/>:
//!
//! ```js
//! const { socketWebClient } = await import('/socketWebClient.js');
//! const prices = socketWebClient('', '/prices');
//! prices.setCallback('readMessage', console.log);
//! prices.init();
//! ```
//!
//! `cargo test --example prices` tests it without a network.

use std::time::Duration;

use phpws::log_file::LogFormat;
use phpws::{Address, Delivery, Limits, Message, Outcome, Resource, Server, SocketId, Timer, To, Value, WebSocketServer};

/// How long a price is good for.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// The application: the newest price, until it is too old.
#[derive(Default)]
struct Prices {
    price: Option<f64>,
    /// The timer that runs while there is a price.
    expiry: Option<Timer>,
    reached: usize,
}

impl Resource for Prices {
    fn on_wake(&mut self, server: &mut Server, value: Value) {
        let Ok(price) = value.downcast::<f64>() else { return };
        self.price = Some(*price);
        let text = format!(r#"{{"opcode":"price","price":{price}}}"#);
        // A client that reads slowly gets the newest price only.
        server.send_and_tell(Delivery::new(To::All, &text).key("price"), 1);
        if let Some(timer) = self.expiry.take() {
            server.cancel(timer);
        }
        self.expiry = server.timer_after(GOOD_FOR, 0);
    }

    fn on_sent(&mut self, _server: &mut Server, _number: u64, outcome: &Outcome) {
        self.reached = outcome.delivered + outcome.queued;
        log::info!("The price reached {} clients", self.reached);
    }

    fn on_timer(&mut self, server: &mut Server, _tag: u64) {
        self.price = None;
        server.send(Delivery::new(To::All, r#"{"opcode":"price","price":null}"#).key("price"));
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, _message: Message<'_>) {
        let price = self.price.map_or("null".to_owned(), |price| price.to_string());
        server.write(id, &format!(r#"{{"opcode":"price","price":{price},"reached":{}}}"#, self.reached));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    phpws::log_file::init(log::LevelFilter::Info, LogFormat::Text, true, None)?;
    let mut server = WebSocketServer::bind(&Address::default(), None, Limits::default())?;
    server.handle_signals(|| {})?;
    server.register_resource("/prices", Prices::default())?;
    let waker = server.waker::<f64>("/prices")?;
    std::thread::spawn(move || {
        // It ends with the server, which takes no value any more.
        for cents in 900.. {
            std::thread::sleep(Duration::from_secs(2));
            if waker.send(f64::from(cents) / 100.0).is_err_and(|error| error.has_ended()) {
                return;
            }
        }
    });
    Ok(server.start()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use phpws::testing::Harness;

    #[test]
    fn a_price_reaches_all_and_is_forgotten_after_its_time() {
        let mut harness = Harness::new();
        harness.register("/prices", Prices::default());
        let waker = harness.web_socket_server().waker::<f64>("/prices").unwrap();
        let (first, second) = (harness.connect("/prices"), harness.connect("/prices"));
        waker.send(9.5).unwrap();
        harness.turn();
        harness.send(first, "and now?");
        let told = harness.texts(first);
        assert_eq!(told[0], r#"{"opcode":"price","price":9.5}"#);
        assert!(told.last().unwrap().contains(r#""price":9.5,"reached":2"#), "{told:?}");
        harness.advance(GOOD_FOR);
        assert_eq!(harness.texts(second), [r#"{"opcode":"price","price":9.5}"#, r#"{"opcode":"price","price":null}"#]);
    }
}
