//! Plays the part of a node: runs a container of a Kubernetes manifest as it is written there, with its command, arguments,
//! user, read-only root and volumes, and in a network that has the manifest's services. Knows no cluster: what is started,
//! and when, is the test's.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failpoints::SLOW;
use crate::process::{Ended, Process, run};
use crate::tools::skip;

/// A node: its network, the image, and the volumes that its pods use. Gone when dropped.
pub(crate) struct Node {
    folder: PathBuf,
    network: String,
    /// By the name of the ConfigMap, Secret or claim.
    volumes: BTreeMap<String, PathBuf>,
}

/// Whether a command succeeds.
fn does(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Node {
    /// In a folder; `None`, and why, if that cannot be had. `service` is a name that leads to this node.
    pub(crate) fn new(folder: &Path, service: &str) -> Option<Node> {
        let network = format!("lockstep-node-{}", std::process::id());
        let folder = folder.join("node");
        let node = Node { folder, network, volumes: BTreeMap::new() };
        let has_namespaces = does("ip", &["netns", "add", &node.network])
            && does("ip", &["-n", &node.network, "link", "set", "lo", "up"])
            && does("unshare", &["--mount", "true"]);
        if !has_namespaces {
            skip("network and mount namespaces (that takes root, iproute2 and util-linux)");
            return None;
        }
        node.build_image(service);
        Some(node)
    }

    /// The program and the libraries that it is linked with: what the image has, and nothing else.
    fn build_image(&self, service: &str) {
        let root = self.folder.join("root");
        for name in ["usr/local/bin", "etc", "proc", "dev"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let program = env!("CARGO_BIN_EXE_lockstep");
        fs::copy(program, root.join("usr/local/bin/lockstep")).unwrap();
        let linked = Command::new("ldd").arg(program).output().unwrap().stdout;
        let linked = String::from_utf8(linked).unwrap();
        for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
            let place = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(library, place).unwrap();
        }
        fs::write(root.join("etc/hosts"), format!("127.0.0.1 localhost {service}\n")).unwrap();
        // As a node's container has it: to find out how much memory there is, for one.
        fs::File::create(root.join("dev/null")).unwrap();
    }

    /// A ConfigMap or a Secret, as kubelet writes it: by links, so that all files change at once.
    pub(crate) fn project(&mut self, name: &str, files: &[(&str, &[u8])], group: u32, mode: u32) {
        let volume = self.folder.join("volumes").join(name);
        fs::create_dir_all(volume.join("..1")).unwrap();
        symlink("..1", volume.join("..data")).unwrap();
        for (file, content) in files {
            let path = volume.join("..1").join(file);
            fs::write(&path, content).unwrap();
            // The pod's group may read what its user may.
            let mode = mode | (mode & 0o700) >> 3;
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            chown(&path, Some(0), Some(group)).unwrap();
            symlink(format!("..data/{file}"), volume.join(file)).unwrap();
        }
        self.volumes.insert(name.to_string(), volume);
    }

    /// A volume that outlives pods, or one for each pod.
    pub(crate) fn claim(&mut self, name: &str, group: u32) -> PathBuf {
        let volume = self.folder.join("volumes").join(name);
        fs::create_dir_all(&volume).unwrap();
        chown(&volume, Some(0), Some(group)).unwrap();
        fs::set_permissions(&volume, Permissions::from_mode(0o2775)).unwrap();
        self.volumes.insert(name.to_string(), volume.clone());
        volume
    }

    /// Starts the container of a pod.
    pub(crate) fn start(&self, pod: &Value) -> Process {
        Process::start(self.container(pod, &words(&pod["containers"][0], &["command", "args"])))
    }

    /// Runs the command of a probe in the container of a pod, to its end.
    pub(crate) fn probe(&self, pod: &Value, probe: &str) -> Ended {
        run(self.container(pod, &words(&pod["containers"][0][probe]["exec"], &["command"])))
    }

    /// A command with all that a container has. Every step replaces the process, so that its number is the program's.
    fn container(&self, pod: &Value, words: &[String]) -> Command {
        let root = self.folder.join("root");
        let root = root.display();
        let mut script = format!("set -e\nmount --bind {root} {root}\n");
        let mut mount = |line: String| script.push_str(&(line + "\n"));
        mount(format!("mount --bind /dev/null {root}/dev/null"));
        for place in pod["containers"][0]["volumeMounts"].as_array().unwrap() {
            let at = format!("{root}{}", place["mountPath"].as_str().unwrap());
            let from = self.volume(pod, place["name"].as_str().unwrap());
            // The place of a mount is made in the image, if it has none.
            mount(format!("mkdir -p {at}\nmount --bind {} {at}", from.display()));
            if place["readOnly"] == true {
                mount(format!("mount -o remount,bind,ro {at}"));
            }
        }
        mount(format!("mount -t proc proc {root}/proc\nmount -o remount,bind,ro {root}"));
        let (user, group) =
            (&pod["securityContext"]["runAsUser"], &pod["securityContext"]["fsGroup"]);
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        script.push_str(&format!(
            "exec setpriv --no-new-privs chroot --userspec={user}:{user} --groups={group} {root} {}",
            words.join(" ")
        ));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.network]);
        command.args(["unshare", "--mount", "--propagation", "private", "sh", "-c", &script]);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LOCKSTEP_LOG_FORMAT", "json").env("FAILPOINTS", SLOW);
        command
    }

    /// Where a volume of a pod is on the node.
    fn volume(&self, pod: &Value, name: &str) -> &Path {
        let volumes = pod["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == name);
        let volume = volume.unwrap_or_else(|| panic!("no volume {name} in {pod:#}"));
        let sources = [
            &volume["configMap"]["name"],
            &volume["secret"]["secretName"],
            &volume["persistentVolumeClaim"]["claimName"],
        ];
        let source = sources.into_iter().find_map(Value::as_str);
        let name = source.unwrap_or("emptyDir");
        self.volumes.get(name).unwrap_or_else(|| panic!("the node has no {name}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        does("ip", &["netns", "del", &self.network]);
    }
}

/// The words of a command, in the manifest's order.
fn words(container: &Value, keys: &[&str]) -> Vec<String> {
    let lists = keys.iter().filter_map(|key| container[key].as_array());
    lists.flatten().map(|word| word.as_str().unwrap().to_string()).collect()
}
