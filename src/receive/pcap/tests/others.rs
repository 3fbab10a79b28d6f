//! What other programs find in captures.

use super::*;

/// What an outside program says, which must be there and succeed.
pub(super) fn said(command: &mut Command) -> String {
    let output = command.output();
    let output =
        output.unwrap_or_else(|error| panic!("{command:?} is needed (ops/test installs it): {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// UDP payloads by tshark, with checksums verified: ports, checksum state (1: good), payload, IP's checksum state.
pub(super) fn tshark(path: &Path) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command
        .args(["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y", "udp", "-T", "fields"])
        .args(["-e", "udp.srcport", "-e", "udp.dstport", "-e", "udp.checksum.status", "-e", "udp.payload"])
        .args(["-e", "ip.checksum.status", "-E", "occurrence=f", "-r"])
        .arg(path);
    said(&mut command).lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn tshark_finds_the_checksums_right_and_the_same_payloads() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("capture");
    let all = to_write();
    write(&path, &all);
    let lines = tshark(&path);
    assert_eq!(lines.len(), all.len());
    for (line, (_, source, _, payload)) in lines.iter().zip(&all) {
        let ip_checksum = if source == FROM4 { "1" } else { "" };
        let expected = ["8080", "2055", "1", &hex(payload), ip_checksum];
        assert_eq!(line[..], expected.map(str::to_owned));
    }
}

/// Every capture in the folder that `FLUXOSCOPE_CAPTURES` names, against tshark, which reads all of them one behind the
/// other; they are not part of this package.
#[test]
fn captures_from_elsewhere_hold_what_tshark_finds() {
    let Some(directory) = std::env::var_os("FLUXOSCOPE_CAPTURES") else { return };
    let mut folders = vec![PathBuf::from(directory)];
    let (mut paths, mut found) = (Vec::new(), Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(mut capture) = Capture::open(&path) else { continue };
            found.extend(rest(&mut capture).unwrap().iter().map(|it| (path.clone(), hex(&it.3))));
            assert_eq!(capture.skipped(), &Skipped::default(), "{}", path.display());
            paths.push(path);
        }
    }
    assert!(!paths.is_empty());
    let directory = TempDir::new().unwrap();
    let all = directory.path().join("all");
    said(Command::new("mergecap").arg("-a").arg("-w").arg(&all).args(&paths));
    let lines = tshark(&all);
    for ((path, payload), line) in found.iter().zip(&lines) {
        assert_eq!(payload, &line[3], "{}", path.display());
    }
    assert_eq!(found.len(), lines.len());
}
