//! What a capture is known by.

use super::*;

#[test]
fn the_hash_is_that_of_the_file_however_much_was_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("capture");
    // A block that is passed over without being read, and more packets than one reading brings.
    let mut large = [LITTLE.section(), LITTLE.interface(1, &[]), LITTLE.block(5, &vec![7; 3 << 20])].concat();
    for n in 0..20_000 {
        large.extend(LITTLE.enhanced(0, n, &ether4(&ipv4(b"something"))));
    }
    let [old, new] = mixed();
    for bytes in [&pcap(1, &[]), &old, &new, &large, &[&old[..], b"torn"].concat()] {
        fs::write(&path, bytes).unwrap();
        let sum = said(Command::new("sha256sum").arg(&path));
        let expected = sum.split(' ').next().unwrap();
        for read in [0, 1, 3, 10_000, usize::MAX] {
            let mut capture = Capture::open(&path).unwrap();
            assert_eq!(capture.len(), bytes.len() as u64);
            let mut seen = 0;
            while seen < read && capture.next().unwrap().is_some() {
                seen += 1;
            }
            assert_eq!(capture.sha256().unwrap(), expected, "after {read} datagrams");
            // Neither does asking change what is read, nor reading on what is told.
            while capture.next().unwrap().is_some() {
                seen += 1;
            }
            assert_eq!(seen, rest(&mut Capture::open(&path).unwrap()).unwrap().len());
            assert_eq!(capture.sha256().unwrap(), expected, "after all, asked after {read}");
            // From where an interrupted reading stood.
            capture.resume(bytes.len() as u64, Reassembly::default()).ok();
            assert_eq!(capture.sha256().unwrap(), expected);
        }
    }
}

#[test]
fn a_file_is_what_it_was_when_it_was_opened() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("capture");
    let first = pcap(1, &[ether4(&ipv4(b"first"))]);
    fs::write(&path, &first).unwrap();
    let (mut capture, mut untouched) = (Capture::open(&path).unwrap(), Capture::open(&path).unwrap());
    assert!(!capture.has_grown().unwrap());
    let hash = untouched.sha256().unwrap();
    fs::write(&path, pcap(1, &[ether4(&ipv4(b"first")), ether4(&ipv4(b"second"))])).unwrap();
    assert_eq!(rest(&mut capture).unwrap().len(), 1, "what came behind has another name");
    assert_eq!(capture.sha256().unwrap(), hash);
    assert!(capture.has_grown().unwrap());
    // One that became shorter is not the file that it was; it is larger than what is read at its opening.
    let large = pcap(1, &vec![ether4(&ipv4(&[0; 1000])); 1000]);
    fs::write(&path, &large).unwrap();
    let mut shorter = Capture::open(&path).unwrap();
    fs::write(&path, &large[..large.len() - 1]).unwrap();
    shorter.sha256().unwrap_err();
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&pipe, directory.path(), Path::new("/dev/zero")] {
        assert!(matches!(Capture::open(path), Err(Error::NotAFile { .. })), "{path:?}");
    }
}
