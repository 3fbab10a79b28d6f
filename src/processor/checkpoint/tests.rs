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
    let cut = &written[..written.len() - 1];
    assert!(matches!(read::<(u8, String)>(cut), Err(Unreadable::Content(_))));
    let longer = [&written[..], b"more"].concat();
    assert!(matches!(read::<(u8, String)>(&longer), Err(Unreadable::Content(_))));
    let text = Unreadable::Format(9).to_string();
    assert!(
        text.contains("format 9")
            && text.contains(&format!("format {FORMAT}"))
            && text.contains("docs/OPERATION.md"),
        "{text}"
    );
}
