import { AccountService } from '#gen/tideway/control/v1/account_service_pb.ts';
import { CHANNEL_HEADER } from './stream-affinity.ts';

/** What browsers are told when they ask before a page of another origin calls. */
export const allowedToPages = {
  methods: 'GET, POST, PATCH, DELETE, OPTIONS',
  headers: [
    'authorization',
    CHANNEL_HEADER,
    'content-type',
    'connect-protocol-version',
    'connect-timeout-ms',
    'last-event-id',
    'x-grpc-web',
    'x-user-agent',
    'grpc-timeout',
  ].join(', '),
} as const;

/** Whose answers the services give to browsers themselves: what has cookies is for our own pages, and the intake has its protocol. */
export const withoutCors = { accounts: `/${AccountService.typeName}/`, auth: '/auth/', intake: '/api/' } as const;
