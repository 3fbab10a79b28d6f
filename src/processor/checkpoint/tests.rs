use super::*;

#[test]
fn a_state_comes_back_and_another_format_is_told() {
    let written = write(&(7_u8, "state"));
    assert_eq!(read::<(u8, String)>(&written), Ok((7, "state".to_owned())));
    let mut newer = written.clone();
    newer[2] = FORMAT + 1;
    assert_eq!(read::<(u8, String)>(&newer), Err(Unreadable::Format(FORMAT + 1)));
    for unmarked in [&b""[..], b"F", b"FX", b"\x05\x05\0", &written[1..]] {
        assert_eq!(read::<(u8, String)>(unmarked), Err(Unreadable::Unmarked), "{unmarked:?}");
    }
    for cut in 3..written.len() {
        assert_eq!(read::<(u8, String)>(&written[..cut]), Err(Unreadable::Checksum), "{cut}");
    }
    let longer = [&written[..], b"more"].concat();
    assert_eq!(read::<(u8, String)>(&longer), Err(Unreadable::Checksum));
    // As it was written, but of another shape.
    assert!(matches!(read::<(u8, u8)>(&written), Err(Unreadable::Content(_))));
    assert!(matches!(read::<(u8, String, u8)>(&written), Err(Unreadable::Content(_))));
    let text = Unreadable::Format(9).to_string();
    assert!(
        text.contains("format 9")
            && text.contains(&format!("format {FORMAT}"))
            && text.contains("docs/OPERATION.md"),
        "{text}"
    );
}

/// Nearly every damaged state reads as another state, and none may.
#[test]
fn no_bit_may_turn() {
    let written = write(&(7_u64, vec![(1_u32, 1000_u32), (2, 512)], "state"));
    assert!(read::<(u64, Vec<(u32, u32)>, String)>(&written).is_ok());
    for bit in 3 * 8..written.len() * 8 {
        let mut damaged = written.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let found = read::<(u64, Vec<(u32, u32)>, String)>(&damaged);
        assert_eq!(found, Err(Unreadable::Checksum), "bit {bit}");
    }
}
