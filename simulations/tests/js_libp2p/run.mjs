// Connects to a p2pnode, identifies and pings it, asks its DHT who is closest to a key, and prints what it learnt as one
// line of JSON. Arguments: the network's name, the multiaddr of the p2pnode.
import './older-node.mjs'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const TRIES = 5
const PAUSE_MS = 500
const KEY_BYTES = 32

const [network, address] = process.argv.slice(2)
const node = await createLibp2p({
  start: false,
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    dht: kadDHT({ protocol: `/p2pnode/${network}/kad/1`, clientMode: true, peerInfoMapper: passthroughMapper })
  }
})
// Its setting for this would rename the protocol of identify as well.
node.services.identify.host.protocolVersion = `p2pnode/${network}/1`
await node.start()

const identified = new Promise(resolve => {
  node.addEventListener('peer:identify', event => resolve(event.detail), { once: true })
})
const connection = await node.dial(multiaddr(address))
const { agentVersion, protocolVersion, protocols } = await identified

// A ping in the moment in which the connection is made fails in js-libp2p itself: "a stream that is closed".
let pingMs, failed
for (let tries = 0; pingMs === undefined && tries < TRIES; tries++) {
  await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
  pingMs = await node.services.ping.ping(connection.remotePeer).catch(error => { failed = error })
}
if (pingMs === undefined) throw failed

const answers = {}
for await (const event of node.services.dht.getClosestPeers(crypto.getRandomValues(new Uint8Array(KEY_BYTES)))) {
  if (event.name === 'PEER_RESPONSE') answers[event.from] = event.closer.map(peer => peer.id.toString())
}
console.log(JSON.stringify({ me: node.peerId.toString(), agentVersion, protocolVersion, protocols, pingMs, answers }))
// Stays until it is told to go, so that it can be looked at from the other side.
process.stdin.resume()
process.stdin.on('end', async () => { await node.stop(); process.exit(0) })
