/** Starts and stops the embedded grid's own processes (gatekeeper and heads); pid file and log for each. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GridError } from '../../domain/error.js';
import { lastLines } from '../../proc/output.js';
import { spawnDaemon, stopDaemon } from '../../proc/command.js';
import type { ProcessLayout } from './layout.js';
import { runningPid } from './state.js';

/** dist/, where the compiled modules are. */
const compiled = join(import.meta.dirname, '../../..');
const startSeconds = 60;

/** What apt needs to reach its sources through a proxy; nothing else of our environment is passed on. */
const passedOn = ['http_proxy', 'https_proxy', 'ftp_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'];

/** Starts it unless it runs. @returns true if it was started now. Refuses if its port belongs to somebody else. */
export async function startDaemon(daemon: ProcessLayout): Promise<boolean> {
  if (runningPid(daemon) !== undefined) return false;
  if (await answers(daemon.port)) {
    throw new GridError('conflict', `port ${daemon.port} of 127.0.0.1, which the ${daemon.name} needs, is taken by another process`, {
      hint: `see who has it: ss -tlnp sport = :${daemon.port}; if it is a grid with another GRIDVC_HOME: gridvc grid down there`,
    });
  }
  const module = join(compiled, daemon.module);
  if (!existsSync(module)) throw new GridError('unavailable', `${module} is missing`, { hint: 'build gridvc: npm run build' });
  const env = Object.fromEntries(passedOn.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
  await spawnDaemon([process.execPath, module, '--config', daemon.config], { log: daemon.log, pidFile: daemon.pid, cwd: daemon.home, env });
  return true;
}

/** Waits until its port accepts connections. @throws unavailable with the end of its log if it dies or is late */
export async function awaitDaemon(daemon: ProcessLayout, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + startSeconds * 1000;
  while (!(await answers(daemon.port))) {
    if (signal.aborted) throw new GridError('interrupted', `interrupted while the ${daemon.name} started`);
    const alive = runningPid(daemon) !== undefined;
    if (!alive || Date.now() > deadline) {
      throw new GridError('unavailable', `the ${daemon.name} ${alive ? `does not answer on port ${daemon.port} after ${startSeconds} s` : 'ended right after its start'}\n${tail(daemon.log)}`, {
        hint: `its log is ${daemon.log}`,
      });
    }
    await sleep(50);
  }
}

/** TERM, and KILL when the grace is over. Not running: nothing happens. */
export async function stopProcess(daemon: ProcessLayout, graceSeconds: number): Promise<boolean> {
  const pid = runningPid(daemon);
  if (pid !== undefined) await stopDaemon(pid, graceSeconds);
  rmSync(daemon.pid, { force: true });
  return pid !== undefined;
}

export function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1000 });
    const end = (result: boolean) => (): void => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', end(true)).once('error', end(false)).once('timeout', end(false));
  });
}

function tail(file: string): string {
  return existsSync(file) ? lastLines(readFileSync(file, 'utf8').slice(-8000), 8).join('\n') : '(it wrote no log)';
}
