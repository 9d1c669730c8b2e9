/**
 * What runs as PID 1 of a node and what it supervises. The image builder puts these files into the
 * base layer; so every node kind boots the same way: prepare /run, start the services of the
 * requested packages as a Debian machine would, and hand over to runit, which keeps sshd and
 * openvpn alive. Pure text.
 */

export interface InitFile {
  readonly path: string;
  readonly mode: number;
  readonly text: string;
}

/** Services that the node must not start from /etc/rc2.d: supervised by runit, or about hardware that a node does not have. */
const notStarted = 'ssh|openvpn|sudo|hwclock.sh|hwclock|udev|procps|runit|runsvdir|plymouth|rmnologin|kmod|x11-common|bootlogs|single|rc.local|networking|mountall.sh|checkfs.sh|sendsigs|halt|reboot';

/** Where a layer of .debs has them. */
export const debsPath = 'var/cache/gridvc/debs';
const debs = `/${debsPath}`;

/** The last line on the console of a node that has installed its .debs: parsed by the head. */
const install = `#!/bin/sh
# Installs the .debs that came with this node. PID 1 waits for it; what goes wrong is said on the console.
log=/var/log/gridvc-install.log
read -r begun rest < /proc/uptime
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C \\
  apt-get -q -y --no-install-recommends --no-remove --allow-downgrades -o Dpkg::Use-Pty=0 -o DPkg::Options::=--force-unsafe-io -o DPkg::Options::=--force-confold \\
  -o APT::Sandbox::User= -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=/dev/null \\
  install ${debs}/*.deb > "$log" 2>&1 < /dev/null
rc=$?
rm -f /usr/sbin/policy-rc.d
if [ $rc != 0 ]; then
  tail -n 20 "$log"
  echo "gridvc: install failed with code $rc"
  exit 1
fi
apt-mark -q manual $(cat ${debs}/by-hand) > /dev/null 2>&1
: > /etc/gridvc/installed
read -r ended rest < /proc/uptime
echo "gridvc: installed $(ls ${debs} | grep -c '\\.deb$') packages, uptime $begun to $ended"
`;

const init = `#!/bin/sh
# PID 1 of a gridvc node: see src/node/init.ts of gridvc.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
cd /
umask 022
mkdir -p /run/sshd /run/user /run/gridvc # /run/lock comes with the mounts
: > /run/utmp
[ -e /var/run ] || ln -s /run /var/run
if [ ! -s /etc/machine-id ]; then
  read -r id < /proc/sys/kernel/random/uuid
  IFS=-
  set -- $id
  printf '%s\\n' "$1$2$3$4$5" > /etc/machine-id
  unset IFS
fi
# .debs in a layer: what the image lacks is installed here, before anything of it is started
if [ -d ${debs} ] && [ ! -e /etc/gridvc/installed ]; then /usr/lib/gridvc/install || exit 1; fi
/usr/lib/gridvc/services > /var/log/gridvc-services.log 2>&1 < /dev/null &
exec runsvdir -P /etc/gridvc/sv
`;

const services = `#!/bin/sh
# Starts what the node's packages would start on a Debian machine in runlevel 2.
if command -v systemd-tmpfiles > /dev/null; then systemd-tmpfiles --create --boot --exclude-prefix=/dev; fi
RUNLEVEL=2 PREVLEVEL=N
export RUNLEVEL PREVLEVEL
started=' '
for link in /etc/rc2.d/S*; do
  [ -x "$link" ] || continue
  name=\${link##*/S}
  name=\${name#[0-9][0-9]}
  case "$name" in ${notStarted}) continue ;; esac
  started="$started$name "
  echo "starting $name"
  timeout 60 "$link" start || echo "$name: its init script ended with code $?"
done
for unit in /lib/systemd/system/*.service /usr/lib/systemd/system/*.service; do
  [ -f "$unit" ] || continue
  name=\${unit##*/}
  name=\${name%.service}
  [ -e "/etc/systemd/system/multi-user.target.wants/$name.service" ] || continue
  case "$started" in *" $name "*) continue ;; esac
  case "$name" in ${notStarted}|ssh@|openvpn@*|e2scrub*) continue ;; esac
  [ -e "/etc/init.d/$name" ] || echo "not started: $name has a systemd unit only; start it by hand"
done
echo done
`;

const sshd = `#!/bin/sh
exec 2>&1
exec /usr/sbin/sshd -D -e
`;

const openvpn = `#!/bin/sh
exec 2>&1
if [ ! -e /etc/openvpn/gridvc.conf ]; then
  echo 'openvpn: no /etc/openvpn/gridvc.conf'
  exec sleep 86400
fi
exec /usr/sbin/openvpn --cd /etc/openvpn --config gridvc.conf
`;

/** Absolute path of the program that a node starts as PID 1. */
export const initPath = '/usr/lib/gridvc/init';

export const initFiles: readonly InitFile[] = [
  { path: initPath, mode: 0o755, text: init },
  { path: '/usr/lib/gridvc/services', mode: 0o755, text: services },
  { path: '/usr/lib/gridvc/install', mode: 0o755, text: install },
  { path: '/etc/gridvc/sv/ssh/run', mode: 0o755, text: sshd },
  { path: '/etc/gridvc/sv/openvpn/run', mode: 0o755, text: openvpn },
];
