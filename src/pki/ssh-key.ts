/** Fresh OpenSSH keys (ed25519), for nodes, clusters and users. */
import ssh2 from 'ssh2';

export interface SshKey {
  /** OpenSSH private key file. */
  readonly private: string;
  /** "ssh-ed25519 AAAA... comment" */
  readonly public: string;
}

/** string "ssh-ed25519" and string of 32 bytes, each with its length before it (RFC 8709, section 4). */
const publicBytes = 4 + 'ssh-ed25519'.length + 4 + 32;

/**
 * ssh2 1.17 drops a leading zero byte of the key: one key of 256 comes out short, and sshd refuses it
 * ("error in libcrypto"). A short one is thrown away and another made.
 */
export function makeSshKey(comment: string): SshKey {
  for (;;) {
    const made = ssh2.utils.generateKeyPairSync('ed25519', { comment });
    const line = made.public.trim();
    if (isWholeKey(line)) return { private: made.private, public: line };
  }
}

/** True if the public line holds a key of full length. */
export function isWholeKey(line: string): boolean {
  return Buffer.from(line.split(' ')[1] ?? '', 'base64').length === publicBytes;
}
