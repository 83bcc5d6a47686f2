//! Applications that put their clients into rooms.

use crate::util::Client;
use crate::util::embedded::Embedded;
use phpws::{Message, Resource, RoomError, Server, SocketId};

/// One room for each query: `/game?7` and its likes.
struct Tables;

impl Resource for Tables {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        let table = table(server, id);
        let name = format!("player {}", server.who(&table).len() + 1);
        let count = server.join(id, &table, &name, false).unwrap();
        server.write(id, &format!("{count} at table {table}"));
        assert_eq!(server.join(id, "", "", false), Err(RoomError::BadRoom));
        assert_eq!(server.leave(id, "elsewhere"), Err(RoomError::NotMember));
    }

    fn on_data(&mut self, server: &mut Server, id: SocketId, message: Message<'_>) {
        let (Message::Text(text), table) = (message, table(server, id)) else { return };
        let others = server.broadcast_room(id, &table, text);
        let names: Vec<&str> = server.who(&table).map(|(_, name)| name).collect();
        let answer = format!("told {others} of {names:?}");
        server.write(id, &answer);
    }

    fn on_close(&mut self, server: &mut Server, id: SocketId) {
        let table = table(server, id);
        assert!(!server.is_member(id, &table), "who is gone is in no room");
        assert_eq!(server.join(id, &table, "", false), Err(RoomError::NotOpen));
        server.broadcast_room(SocketId::default(), &table, "one less");
    }
}

fn table(server: &Server, id: SocketId) -> String {
    server.client(id).unwrap().request().unwrap().query().to_owned()
}

#[test]
fn an_application_puts_clients_into_rooms() {
    let server = Embedded::start(|server| server.register_resource("/game", Tables).unwrap());
    let mut players: Vec<Client> = ["7", "7", "8"].iter().map(|table| server.upgrade(&format!("/game?{table}"), "")).collect();
    for (player, seat) in players.iter_mut().zip(["1 at table 7", "2 at table 7", "1 at table 8"]) {
        assert!(player.text().contains("ready"));
        assert_eq!(player.text(), seat);
    }
    players[1].say("a move");
    assert_eq!(players[1].text(), r#"told 1 of ["player 1", "player 2"]"#);
    assert_eq!(players[0].text(), "a move");
    players[2].say("nobody hears me");
    assert_eq!(players[2].text(), r#"told 0 of ["player 1"]"#);
    drop(players.remove(1));
    assert_eq!(players[0].text(), "one less");
}
