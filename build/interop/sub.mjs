// Subscribes with mqtt.js and prints what comes: topic, a space, payload, a line each.
//
//   MODULES=folder-of-node_modules node sub.mjs URL VERSION FILTER

import { createRequire } from 'node:module'

const mqtt = createRequire(`${process.env.MODULES}/package.json`)('mqtt')
const [url, version, filter] = process.argv.slice(2)
const client = mqtt.connect(url, { protocolVersion: Number(version), clean: true, reconnectPeriod: 100 })
client.on('connect', () => client.subscribe(filter, { qos: 1 }, (err, granted) => {
	if (err || granted.some((g) => g.qos > 2)) {
		console.error('the subscription was refused', err, granted)
		process.exit(1)
	}
	console.log('ready')
}))
client.on('message', (topic, payload) => console.log(`${topic} ${payload}`))
client.on('error', (err) => {
	console.error(err)
	process.exit(1)
})
